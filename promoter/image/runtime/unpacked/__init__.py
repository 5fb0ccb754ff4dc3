"""A runtime without an engine: locked wheels are unpacked into layers on a base that is read and never run.

make.py         the one door: layers, config and manifest    wheel.py      one wheel, every name in it checked
environment.py  what makes the wheels an environment         members.py    files as a layer in gzip, without compressing again
base_files.py   what the base contains                       libraries.py  whether compiled code finds what it loads
bytecode.py     modules compiled, in layers of their own     elf.py        what a shared library needs and offers
compiler.py     runs in the Python that compiles them
"""
