"""The one door: from a recipe to a runtime in its repository, of layers that are the same bytes wherever they are made."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

from promoter.errors import RefusedError
from promoter.image.base import Base
from promoter.image.oci import CONFIG, MANIFEST, Descriptor, canonical, section, sha256
from promoter.image.runtime.debian.lock import LockedPackage
from promoter.image.runtime.recipe import Recipe
from promoter.image.runtime.tools import find_python
from promoter.image.runtime.unpacked.base_files import BaseFiles, Python, read_files
from promoter.image.runtime.unpacked.bytecode import add_bytecode
from promoter.image.runtime.unpacked.environment import OWNER, container, environment
from promoter.image.runtime.unpacked.files import File, merged
from promoter.image.runtime.unpacked.libraries import require_libraries
from promoter.image.runtime.unpacked.members import PackedLayer, pack_files
from promoter.image.runtime.unpacked.wheel import Wheel
from promoter.image.runtime.wheels import download_wheels
from promoter.machine.folders import temporary, writing

_OWN_LAYER = 8 << 20
"""Packages of as many bytes get a layer of their own: a new version of one does not send the others again."""
_MOST_LAYERS = 40
_INSTALLER = "pip"  # in the lock for builds; nothing is installed here
_EPOCH = "1970-01-01T00:00:00Z"


def unpack(recipe: Recipe, tag: str) -> None:
    """Makes the runtime and gives it this tag. Everything is checked before the first byte is sent.

    Raises:
        RefusedError: base and wheels do not fit, a wheel is damaged or hostile.
        AuthError, UnreachableError, UsageError: as registries, package index and disk answer.
    """
    name = str(recipe.base_name)
    recipe.say(f"reading {name}")
    base = _files(recipe, name)
    python = _python(recipe, base)
    with temporary("build") as folder:
        wheels = _wheels(recipe, base, folder)
        recipe.say(f"unpacking {len(wheels)} packages")
        files = runtime_files(python, recipe.lock, wheels, recipe.packages.packages if recipe.packages else ())
        require_libraries(files, base, recipe.platform)
        groups = grouped(files)
        groups += _bytecode(recipe, groups, folder)
        _send(recipe, tag, [pack_files(group) for group in groups])


def runtime_files(python: Python, lock: str, wheels: Sequence[Wheel], packages: Sequence[LockedPackage] = ()) -> list[File]:
    """Everything that is put on the base and its `packages`; raises as `Wheel.files` and `merged`."""
    unpacked = [file for wheel in wheels for file in wheel.files]
    return merged([*environment(python.path, python.version, lock, wheels, packages), *unpacked])


def grouped(files: Iterable[File]) -> list[list[File]]:
    """The files of each layer: large packages by themselves, all others together, and last what changes with promoter."""
    owners: dict[str, list[File]] = {}
    for file in files:
        owners.setdefault(file.owner, []).append(file)
    own = owners.pop(OWNER)
    sizes = {owner: sum(file.size for file in group) for owner, group in owners.items()}
    large = sorted((owner for owner in owners if sizes[owner] >= _OWN_LAYER), key=lambda owner: -sizes[owner])[:_MOST_LAYERS]
    rest = [file for owner, group in owners.items() if owner not in large for file in group]
    return [group for group in (*(owners[owner] for owner in sorted(large)), rest, own) if group]


def _files(recipe: Recipe, name: str) -> BaseFiles:
    """Those of the base, with its packages on it."""
    base = read_files(recipe.base, recipe.base_repository, name, recipe.env)
    if recipe.packages is None:
        return base
    return base.under(recipe.packages.layer, recipe.target, recipe.env)


def _python(recipe: Recipe, base: BaseFiles) -> Python:
    found, wanted = base.python, recipe.requirements.python
    if found.version != wanted:
        raise RefusedError(
            f"the base image {base.name} has Python {found.version}, the model needs Python {wanted}",
            hint="write image.base with {python} in its tag, or log the model again",
        )
    return found


def _wheels(recipe: Recipe, base: BaseFiles, folder: Path) -> list[Wheel]:
    recipe.say(f"fetching the wheels of {recipe.lock.count('==')} packages")
    lock = folder / "requirements.lock"
    with writing(folder):
        lock.write_text(recipe.lock)
    python = recipe.requirements.python
    download_wheels(lock, python, recipe.platform, folder / "wheels", recipe.env, base.musl)
    found = [Wheel(path, python) for path in (folder / "wheels").iterdir()]
    return sorted((wheel for wheel in found if wheel.name != _INSTALLER), key=lambda wheel: wheel.name)


def _bytecode(recipe: Recipe, groups: Sequence[Sequence[File]], folder: Path) -> list[list[File]]:
    """After all other layers, whose digests it has no part in."""
    python = recipe.requirements.python
    interpreter = find_python(python, recipe.env)
    if interpreter is None:
        recipe.say(f"no Python {python} is here to compile with: workers will compile what they import, at each start")
        return []
    recipe.say(f"compiling for Python {python}")
    return add_bytecode(groups, interpreter, python, folder, recipe.env)


def _send(recipe: Recipe, tag: str, layers: Collection[PackedLayer]) -> None:
    target = recipe.target
    for layer in layers:
        if not target.has_blob(layer.blob.digest):
            target.write_blob(layer.chunks, layer.blob.size)
    base = _base(recipe)
    for blob in base.layers:
        target.copy_blob(blob, recipe.base_repository)  # that of packages is there already
    config = image_config(recipe, layers)
    target.write_blob([config], len(config))
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": Descriptor(CONFIG, sha256(config), len(config)).as_json(),
        "layers": [blob.as_json() for blob in (*base.layers, *(layer.blob for layer in layers))],
    }
    target.create_manifest(tag, canonical(manifest))


def _base(recipe: Recipe) -> Base:
    return recipe.packages.on(recipe.base) if recipe.packages else recipe.base


def image_config(recipe: Recipe, layers: Collection[PackedLayer]) -> bytes:
    """The base's config with these layers on it, and promoter's server as its command."""
    base = _base(recipe).config
    inner = container(section(base, "config"))
    inner["Labels"] = {**section(section(base, "config"), "Labels"), **recipe.labels}
    diff_ids = [*section(base, "rootfs").get("diff_ids", ()), *(layer.diff_id for layer in layers)]
    created = str(base.get("created") or _EPOCH)
    config: dict[str, Any] = {
        **recipe.platform.as_json(),
        **base,
        "created": created,
        "config": inner,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    if history := base.get("history"):
        # A history of fewer layers than there are is worse than none: tools pair them up.
        config["history"] = [*history, *({"created": created, "created_by": "promoter", "comment": "runtime"} for _ in layers)]
    return canonical(config)
