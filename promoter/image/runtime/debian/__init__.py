"""image.packages without an engine: Debian packages of the base's own release become one layer on a base that is never run.

lock.py      the one door: locked once, found ever after    resolve.py  which packages the base lacks, by Debian's rules
sources.py   where the base's apt would look, and its keys   version.py  the order of versions
signature.py a signed index, checked by gpgv                 control.py  Debian's control files
index.py     the packages that a signed index lists          archive.py  one .deb, with every name in it checked
fetch.py     files of an archive by HTTP, by their hashes    layer.py    their files on the base, with dpkg's records
"""
