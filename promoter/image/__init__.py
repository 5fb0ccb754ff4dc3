"""From a model version to a published image: one reproducible layer on a base image, in a container registry or an OCI layout.

publish.py      find or ensure a version's image; explain.py why it is reused or made
assemble.py     all of an image but its tag        layer.py        model files -> a tar stream, content digest
manifest.py     config and manifest                compression.py  the layer compressed, if configured
base.py         the image underneath               reference.py    what an image is called
layout.py       a folder of images                 oci.py          the words all of them share
registry.py     a container registry               upload.py       a blob on its way there, in resumable chunks
connection.py   HTTP with it                       body.py         what such an upload sends
credentials.py  the login for a registry           acr.py          the login for an Azure registry
registry_token.py the Authorization header
runtime/        the image under the model's layer, built by a Docker engine if it does not exist yet
"""
