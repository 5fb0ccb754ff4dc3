"""The test service as an image: the base that promoter puts models on, and whole images made by hand."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tests.cluster.cluster import ENVIRON, HERE

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_GO_ARCHITECTURES = {"amd64": "amd64", "arm64": "arm64"}


@dataclass(frozen=True)
class Pushed:
    """An image in the container registry."""

    repository: str
    tag: str
    digest: str

    @property
    def reference(self) -> str:
        return f"{self.repository}@{self.digest}"


@dataclass(frozen=True)
class Repository:
    """One repository of a container registry that speaks plain HTTP."""

    registry: str
    name: str

    @property
    def reference(self) -> str:
        return f"{self.registry}/{self.name}"

    @property
    def _url(self) -> str:
        return f"http://{self.registry}/v2/{self.name}"

    def push(self, tag: str, architecture: str, *layers: Mapping[str, bytes]) -> Pushed:
        """An image of these layers (path -> content), which runs /service."""
        packed = [_tar(files) for files in layers]
        config = {
            "architecture": architecture,
            "os": "linux",
            "config": {"Entrypoint": ["/service"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer) for layer in packed]},
        }
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "config": self._upload(json.dumps(config).encode(), _CONFIG),
            "layers": [self._upload(layer, _LAYER) for layer in packed],
        }
        raw = json.dumps(manifest).encode()
        answer = requests.put(f"{self._url}/manifests/{tag}", data=raw, headers={"Content-Type": _MANIFEST}, timeout=60)
        answer.raise_for_status()
        return Pushed(self.reference, tag, _digest(raw))

    def delete(self, digest: str) -> None:
        """Takes the manifest away; skips where the registry does not let anybody."""
        answer = requests.delete(f"{self._url}/manifests/{digest}", timeout=60)
        if answer.status_code == 405:
            pytest.skip("the container registry deletes nothing")
        answer.raise_for_status()

    def _upload(self, content: bytes, media_type: str) -> dict[str, str | int]:
        started = requests.post(f"{self._url}/blobs/uploads/", timeout=60)
        started.raise_for_status()
        place = requests.compat.urljoin(self._url, started.headers["Location"])
        done = requests.put(
            place,
            params={"digest": _digest(content)},
            data=content,
            headers={"Content-Type": "application/octet-stream"},
            timeout=60,
        )
        done.raise_for_status()
        return {"mediaType": media_type, "digest": _digest(content), "size": len(content)}


@dataclass(frozen=True)
class Service:
    """The built test service; `base` is its image, without a model."""

    binary: bytes = field(repr=False)
    architecture: str
    models: Repository
    base: Pushed

    def by_hand(self, version: str, behaviour: str) -> Pushed:
        """An image as somebody else would have built it, under a tag that promoter does not use."""
        return self.models.push(
            f"v{version}-by-hand",
            self.architecture,
            {"service": self.binary},
            {"opt/model/behaviour": behaviour.encode(), "opt/model/version": version.encode()},
        )


def build(registry: str, prefix: str, architecture: str, folder: Path) -> Service:
    """Compiles the test service for nodes of this architecture and pushes the base image."""
    goarch = _GO_ARCHITECTURES.get(architecture)
    if goarch is None:
        pytest.skip(f"the test service is not built for nodes of architecture {architecture}")
    target = folder / "service"
    command = ["go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(target), "."]
    environ = {**ENVIRON, "CGO_ENABLED": "0", "GOOS": "linux", "GOARCH": goarch, "GOWORK": "off"}
    done = subprocess.run(command, cwd=HERE / "service", env=environ, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    binary = target.read_bytes()
    base = Repository(registry, f"{prefix}/service").push("1", architecture, {"service": binary})
    return Service(binary, architecture, Repository(registry, f"{prefix}/fraud-detector"), base)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()
