"""What makes unpacked wheels a virtual environment of the base's interpreter (PEP 405), and the server next to it."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from promoter.image.runtime.context import PACKAGE, serving
from promoter.image.runtime.debian.lock import LockedPackage
from promoter.image.runtime.install import bill_of_materials
from promoter.image.runtime.unpacked.files import RUNTIME, SERVER, File, Link
from promoter.image.runtime.unpacked.wheel import Wheel

OWNER = "promoter"
# The same as in the Dockerfile: its lines ENV, WORKDIR, USER, EXPOSE and ENTRYPOINT.
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
VARIABLES = {
    "HOME": "/tmp",  # noqa: S108 - in the image
    "TMPDIR": "/tmp",  # noqa: S108
    "PYTHONPATH": f"/{SERVER}",
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}
CONTAINER: dict[str, Any] = {
    "WorkingDir": f"/{SERVER}",
    "User": "10001:10001",
    "ExposedPorts": {"8000/tcp": {}},
    "Entrypoint": [f"/{RUNTIME}/bin/python", "-m", "promoter.serving"],
}


def environment(
    interpreter: str, python: str, lock: str, wheels: Iterable[Wheel], packages: Iterable[LockedPackage]
) -> Iterator[File]:
    """Everything in the runtime that no wheel brings; `interpreter` is the base's, `python` its minor version (3.11)."""
    # What Python's own venv writes; `home` is where the interpreter finds its standard library from.
    settings = {"home": posixpath.dirname(interpreter), "include-system-site-packages": "false", "version": python}
    texts = {
        f"{RUNTIME}/pyvenv.cfg": "".join(f"{key} = {value}\n" for key, value in settings.items()),
        f"{RUNTIME}/requirements.lock": lock,
        f"{RUNTIME}/sbom.cdx.json": bill_of_materials(
            ((wheel.name, wheel.version) for wheel in wheels), ((one.name, one.version, one.url) for one in packages)
        ),
        f"{SERVER}/promoter/__init__.py": PACKAGE,
    }
    links = {"python3": interpreter, "python": "python3", f"python{python}": "python3"}
    yield from (File(path, text.encode(), OWNER) for path, text in texts.items())
    yield from (File(f"{RUNTIME}/bin/{name}", Link(target), OWNER) for name, target in links.items())
    for name, path in serving():
        yield File(f"{SERVER}/{name.removeprefix('server/')}", path.read_bytes(), OWNER)


def container(base: Mapping[str, Any]) -> dict[str, Any]:
    """The base's container configuration, as the Dockerfile would change it."""
    listed = base.get("Env")
    before = dict(line.split("=", 1) for line in listed if "=" in line) if isinstance(listed, list) else {}
    path = f"/{RUNTIME}/bin:{before.get('PATH') or _PATH}"
    env = {**before, "PATH": path, **VARIABLES}
    kept = {key: value for key, value in base.items() if key != "Cmd"}
    return {**kept, **CONTAINER, "Env": [f"{key}={value}" for key, value in env.items()]}
