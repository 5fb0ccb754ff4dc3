"""A runtime for linux/arm64, made on whatever machine this is: every library is of that architecture, and it runs under emulation."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from promoter.image.base import BaseImage, Platform, read_base
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.image.runtime.build import RuntimeBuilder
from promoter.models import Builder
from tests.support.docker_engine import debian, machine_environ
from tests.support.models import listing, model_version, store
from tests.support.registry_server import RegistryServer, registry_server
from tests.test_image_runtime import settings
from tests.test_image_unpacked_runtime import push_base

__all__ = ["registry_server"]

pytestmark = pytest.mark.full  # 50 MB of packages, 120 MB of wheels, and a minute of emulation

_AARCH64 = 183
_EMULATOR = shutil.which("qemu-aarch64-static")
_MODEL = """
import platform
import promoter.serving.server, mlflow.pyfunc, numpy, sklearn.tree
rows = numpy.arange(20.0).reshape(10, 2)
model = sklearn.tree.DecisionTreeClassifier(random_state=7).fit(rows, rows.sum(axis=1) > 18)
print(platform.machine(), model.predict(rows).astype(int).tolist())
"""


@pytest.fixture(scope="module")
def runtime(registry_server: RegistryServer, tmp_path_factory: pytest.TempPathFactory) -> BaseImage:
    """The runtime of scikit-learn for arm64."""
    folder = tmp_path_factory.mktemp("arm64")
    tar = debian("extract", "arm64")
    listed = subprocess.run(["tar", "-tf", tar], capture_output=True, text=True, check=True).stdout.split()
    python = next(name.rpartition("python")[2] for name in listed if name.startswith("./usr/bin/python3."))
    base = push_base(registry_server, "debian-arm64", tar.read_bytes(), architecture="arm64", config={})
    target = RegistryRepository(ImageReference.parse(f"{registry_server.host}/for-arm64"))
    kept = {key: value for key, value in machine_environ().items() if key.startswith(("PIP_", "UV_", "SSL_", "PATH", "HOME"))}
    environ = kept | {"XDG_CACHE_HOME": str(folder)}
    image = settings(runtime_builder=Builder.UNPACK, base=base, platform="linux/arm64")
    files = {
        "MLmodel": b"{}",
        "requirements.txt": b"mlflow\nscikit-learn\n",
        "python_env.yaml": f"python: {python}.1\n".encode(),
    }
    return RuntimeBuilder(target, image, environ, print)(model_version(listing(files)), store(files).open)


@pytest.fixture(scope="module")
def root(runtime: BaseImage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its layers, unpacked."""
    folder = tmp_path_factory.mktemp("root")
    for layer in read_base(runtime, Platform("linux", "arm64")).layers:
        packed = folder.with_suffix(".layer")
        packed.write_bytes(b"".join(runtime.repository.read_blob(layer)))
        subprocess.run(["tar", "-xzf", packed, "-C", folder], check=True)
    return folder


def test_every_library_is_for_arm64(root: Path) -> None:
    machines = set()
    for path in (root / "opt").rglob("*"):
        if path.is_file() and not path.is_symlink():
            with path.open("rb") as file:
                start = file.read(20)
            if start.startswith(b"\x7fELF"):
                machines.add(struct.unpack_from("<H", start, 18)[0])
    assert machines == {_AARCH64}


@pytest.mark.skipif(_EMULATOR is None, reason="qemu-aarch64-static (package qemu-user-static) is missing")
def test_it_runs_under_emulation(root: Path) -> None:
    """And reads the bytecode that this machine has compiled."""
    shutil.copy(str(_EMULATOR), root / "emulator")
    environ = {"PYTHONPATH": "/opt/promoter", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "/tmp", "PATH": "/usr/sbin:/usr/bin"}
    command = ["chroot", str(root), "/emulator", "-0", "/opt/runtime/bin/python", "/opt/runtime/bin/python", "-v", "-c", _MODEL]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout == f"aarch64 {[0] * 5 + [1] * 5}\n"
    read = [line for line in done.stderr.splitlines() if line.startswith("# code object from '/opt/")]
    assert len(read) > 500
    assert [line for line in read if not line.endswith(".pyc'")] == []
