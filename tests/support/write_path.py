"""The write path on one machine: an MLflow server, a Git remote seeded with the shipped files, images in an OCI layout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from promoter import config
from promoter.commands.plan import Plan, plan
from promoter.commands.promote import Outcome, promote
from promoter.commands.scaffold import template
from promoter.image.layout import LayoutRepository
from promoter.image.oci import sha256
from promoter.model_registry import ModelReference
from promoter.promotion.clients import Clients
from promoter.promotion.steps import Steps
from tests.support.mlflow_server import MlflowServer

OVERLAY = "overlays/staging"
KUSTOMIZATION, RELEASE = f"{OVERLAY}/kustomization.yaml", f"{OVERLAY}/release.yaml"
PROMOTION = f"{OVERLAY}/promotion.yaml"
EXAMPLE_REMOTE = "https://github.com/your-org/your-gitops-repository.git"
FILES = {"MLmodel": b"flavors:\n  python_function:\n    loader_module: model\n", "requirements.txt": b"numpy==2.4.0\n"}


@dataclass(frozen=True)
class WritePath:
    """`folder` holds promoter.yaml and environments/, the bare remote and the images; `model` is registered at `server`."""

    folder: Path
    server: MlflowServer
    model: str

    @property
    def config(self) -> Path:
        return self.folder / "promoter.yaml"

    @property
    def remote(self) -> Path:
        return self.folder / "gitops.git"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def environ(self) -> dict[str, str]:
        nobody = dict.fromkeys(("GITHUB_ACTOR", "BUILD_REQUESTEDFOR", "GITLAB_USER_LOGIN"), "")
        return {**os.environ, **nobody, "MLFLOW_TRACKING_URI": self.server.url}

    # -- model registry -----------------------------------------------------------------------------------------------

    def register(
        self,
        weights: bytes | None = None,
        *,
        alias: str | None = "challenger",
        model: str | None = None,
        accuracy: float = 0.9,
    ) -> str:
        """A new version of the model (or another one) with its own weights; gives its number."""
        content = uuid.uuid4().bytes if weights is None else weights
        run = self.server.create_run({"accuracy": accuracy})
        logged = self.server.log_model({**FILES, "weights.bin": content}, run_id=run)
        return self.server.register(model or self.model, f"models:/{logged}", run_id=run, alias=alias)

    # -- promoter -----------------------------------------------------------------------------------------------------

    def clients(self, **environ: str) -> Clients:
        return Clients(config.load(self.config), self.environ | environ)

    def plan(
        self,
        reference: str,
        *,
        to: str = "staging",
        rendering: bool = False,
        steps: Steps | None = None,
        unattended: bool = False,
    ) -> Plan:
        clients, wanted = self.clients(), ModelReference.parse(reference)
        where = clients.config.environment(to, wanted.name)
        return plan(clients, where, wanted, steps or Steps(), rendering=rendering, unattended=unattended)

    def apply(self, made: Plan, steps: Steps | None = None) -> Outcome:
        return promote(self.clients(), made, steps or Steps())

    def promote(self, reference: str, *, to: str = "staging") -> Outcome:
        steps = Steps()
        return self.apply(self.plan(reference, to=to, steps=steps), steps)

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "promoter", *arguments, "--config", str(self.config)]

    def run(self, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """promoter as a process of its own."""
        return subprocess.run(self.command(*arguments), capture_output=True, text=True, env=self.environ | environ, check=False)

    # -- git ----------------------------------------------------------------------------------------------------------

    def git(self, *arguments: str, stdin: str | bytes = b"") -> str:
        content = stdin.encode() if isinstance(stdin, str) else stdin
        done = subprocess.run(["git", "-C", str(self.remote), *arguments], input=content, capture_output=True, check=True)
        return done.stdout.decode()

    def commit(self, files: Mapping[str, bytes | str | None], message: str = "Somebody else's work") -> str:
        """A commit at the remote that promoter did not make: bytes are a file, text the target of a link, None removes."""
        stream = [f"commit refs/heads/main\ncommitter Else <else@example.com> now\n{_data(message.encode())}".encode()]
        if self.git("for-each-ref", "refs/heads/main"):
            stream.append(b"from refs/heads/main^0\n")
        for path, content in files.items():
            if content is None:
                stream.append(f"D {path}\n".encode())
                continue
            mode, body = ("120000", content.encode()) if isinstance(content, str) else ("100644", content)
            stream.append(f"M {mode} inline {path}\n".encode() + _data(body).encode("latin-1"))
        self.git("fast-import", "--quiet", "--date-format=now", stdin=b"".join(stream))
        return self.tip

    @property
    def tip(self) -> str:
        return self.git("rev-parse", "main").strip()

    def commits(self, since: str = "") -> list[str]:
        """Newest first."""
        return self.git("rev-list", f"{since}..main" if since else "main").split()

    def read(self, path: str) -> bytes:
        return self.git("show", f"main:{path}").encode()

    def trailers(self, commit: str = "main") -> dict[str, str]:
        lines = self.git("log", "-1", "--format=%(trailers:only,unfold)", commit).strip().splitlines()
        return dict(line.split(": ", 1) for line in lines)

    # -- all of it ----------------------------------------------------------------------------------------------------

    def edit(self, file: Path | str, old: str, new: str) -> None:
        """Changes a file of `folder` (promoter.yaml, environments/...)."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    def image_digest(self, tag: str, repository: str | None = None) -> str | None:
        """The manifest digest of a tag in the layout."""
        manifest = LayoutRepository(self.images, repository or f"registry.example.com/models/{self.model}").read_manifest(tag)
        return None if manifest is None else sha256(manifest)

    def outside(self) -> tuple[str, dict[str, bytes]]:
        """All that promoter could write to: the remote's refs, and every file of `folder` outside of the remote."""
        files = {
            str(file.relative_to(self.folder)): file.read_bytes()
            for file in sorted(self.folder.rglob("*"))
            if file.is_file() and self.remote not in file.parents
        }
        return self.git("for-each-ref"), files


def seed(folder: Path, server: MlflowServer, model: str) -> WritePath:
    """The shipped files, for this model (a DNS name) and this folder; those of the cluster are the remote's first commit."""
    path = WritePath(folder, server, model)
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path.remote)], check=True)
    path.git("config", "uploadpack.allowFilter", "true")
    committed = {}
    for name, content in template.files():
        text = content.decode().replace("fraud-detector", model).replace(EXAMPLE_REMOTE, path.remote.as_uri())
        text = re.sub(r"(?m)^  base: python:.*$", "  runtime: scratch\n  layout: oci:images", text)
        file = folder / name
        if name.startswith(("environments/", "promoter.yaml")):
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        committed[name] = text.encode()
    path.commit(committed, "Start the GitOps repository")
    return path


def unique_name() -> str:
    """A registered model's name that no other test has."""
    return f"model-{uuid.uuid4().hex[:8]}"


def _data(content: bytes) -> str:
    return f"data {len(content)}\n{content.decode('latin-1')}\n"


@pytest.fixture
def path(mlflow_server: MlflowServer, tmp_path: Path) -> WritePath:
    """A write path of the test's own, with nothing registered yet."""
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    return seed(tmp_path, mlflow_server, unique_name())
