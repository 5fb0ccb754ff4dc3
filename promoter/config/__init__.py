"""promoter.yaml and the Application manifests it names, as one frozen Config; every complaint names file, line and key.

values.py     what the configuration is once read      file.py       promoter.yaml's keys, and its JSON Schema
reading.py    from the files to the values             manifest.py   an Application manifest
"""

from promoter.config.file import schema
from promoter.config.reading import find, load, named_files
from promoter.config.values import (
    FILE,
    Config,
    ForgeConfig,
    GitConfig,
    ImageConfig,
    RenderConfig,
    WatchConfig,
    nearest,
)

__all__ = [
    "FILE",
    "Config",
    "ForgeConfig",
    "GitConfig",
    "ImageConfig",
    "RenderConfig",
    "WatchConfig",
    "find",
    "load",
    "named_files",
    "nearest",
    "schema",
]
