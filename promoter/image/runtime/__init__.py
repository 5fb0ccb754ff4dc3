"""From a model's requirements to the image that serves it: built once with a Docker engine, found in the registry ever after.

requirements.py  what the model asks for         context.py   the folder a Dockerfile builds from
lock.py          resolved once, with hashes      engine.py    the Docker engine: pull, build, push
wheels.py        the locked files, on the host   build.py     the one door: find or build
tools.py         uv and pip                      whole.py     strategy `build`: the model goes in there too
Dockerfile, install.py: what runs inside the build
"""
