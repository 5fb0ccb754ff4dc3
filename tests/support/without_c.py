"""promoter's YAML modules as they are on a machine where ruamel.yaml has no C extension."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import cast

_EXTENSIONS = ("_ruamel_yaml", "_ruamel_yaml_clibz")
_AGAIN = ("ruamel.yaml.cyaml", "promoter.kustomize.yaml_file", "promoter.kustomize.yaml_edit", "promoter.kustomize.release")


def kustomize_without_c() -> ModuleType:
    """A second `promoter.kustomize`, imported while the extension can't be; the first one and ruamel stay as they are."""
    loaded = cast("dict[str, ModuleType | None]", sys.modules)
    kept = {name: sys.modules.pop(name) for name in (*_EXTENSIONS, *_AGAIN) if name in sys.modules}
    package = importlib.import_module("promoter")
    attributes = dict(vars(package))
    loaded.update(dict.fromkeys(_EXTENSIONS))  # None: importing it raises ModuleNotFoundError
    try:
        module = importlib.import_module("promoter.kustomize.release")
        assert sys.modules["promoter.kustomize.yaml_file"].CParser is None
        return module
    finally:
        for name in (*_EXTENSIONS, *_AGAIN):
            sys.modules.pop(name, None)
        sys.modules.update(kept)
        vars(package).update(attributes)
