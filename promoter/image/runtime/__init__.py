"""From a model's requirements to the image that serves it: made once, with a Docker engine or without, then found.

build.py         the one door: find or build     recipe.py    what a build is made of, and its key
requirements.py  what the model asks for         context.py   a Dockerfile and the folder around it
lock.py          resolved once, with hashes      engine.py    the Docker engine: pull, build, push
wheels.py        the locked files, on the host   whole.py     strategy `build`: the model goes in there too
tools.py         uv and pip                      Dockerfile, install.py: what runs inside the build
unpacked/        the same without an engine      trial.py: the model is loaded once
packages.py      what a base lacks
"""
