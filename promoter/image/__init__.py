"""From a model version to a published image: one reproducible layer on a base image, in a container registry or an OCI layout.

reference.py    what an image is called            layer.py     model files -> a tar stream, content digest
oci.py          the words all of them share        base.py      the image underneath
layout.py       a folder of images                 manifest.py  config and manifest of ours, bit for bit the same
registry.py     a container registry               publish.py   the one door: find or ensure a version's image
token.py        what it wants to see           credentials.py  who we are there
runtime/        what a model is put on, built by a Docker engine where nobody has yet
"""
