"""From a model version to a published image: one reproducible layer on a base image, in a container registry or an OCI layout.

publish.py      the one door: find or ensure a version's image; explain.py why it is reused or made
assemble.py     all of an image but its tag        layer.py        model files -> a tar stream, content digest
manifest.py     config and manifest of ours        compression.py  the layer compressed, where that is asked for
base.py         the image underneath               reference.py    what an image is called
layout.py       a folder of images                 oci.py          the words all of them share
registry.py     a container registry               upload.py       a blob on its way there, in resumable chunks
connection.py   HTTP with it                       body.py         what such an upload sends
credentials.py  who we are there                   acr.py          who we are at one of Azure's
registry_token.py what it wants to see
runtime/        what a model is put on, built by a Docker engine where nobody has yet
"""
