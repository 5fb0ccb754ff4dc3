"""A fleet to measure with: a repository with many environments, and one server that answers as its MLflow and its Argo CD.

Every model has version 1 with the alias champion, which production follows, and version 2 with challenger, which staging does.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from promoter.commands.scaffold import template
from promoter.kustomize.overlay import Files, read_overlay
from promoter.kustomize.release import parse_overlay
from promoter.models import Application, Environment, Model, Release

REGISTRY = "registry.example.com/models"
ENVIRONMENTS = {"staging": "2", "production": "1"}
"""The version that each deploys."""

_ALIASES = {"staging": "challenger", "production": "champion"}
_REMOTE = "https://github.com/your-org/your-gitops-repository.git"
_SHIPPED = dict(template.files())
_TAG_TIMES = {"1": "20231114221320", "2": "20231114221321"}


@dataclass(frozen=True)
class Fleet:
    """`folder` holds promoter.yaml and environments/; `size` is how many environments there are, two for each model."""

    folder: Path
    size: int

    @property
    def config(self) -> Path:
        return self.folder / "promoter.yaml"

    @property
    def remote(self) -> Path:
        return self.folder / "fleet.git"

    @property
    def models(self) -> list[str]:
        return [f"model-{number:05d}" for number in range(self.size // 2)]

    @property
    def environ(self) -> dict[str, str]:
        home = self.folder / "home"
        return {"HOME": str(home), "XDG_CACHE_HOME": str(home / ".cache"), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def release(model: str, version: str) -> Release:
    digest = "sha256:" + version * 64
    return Release(model, version, digest, f"{REGISTRY}/{model}", f"v{version}-{_TAG_TIMES[version]}", digest)


def fleet(folder: Path, size: int, *, patterns: bool = False) -> Fleet:
    """Makes one; `patterns`: promoter.yaml has its environments once for all models."""
    made = Fleet(folder, size)
    (folder / "environments").mkdir(parents=True)
    (folder / "home").mkdir()
    (folder / "files").mkdir()
    (folder / "files" / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: model\n")
    texts = {name: _Texts.of(name, made.remote) for name in ENVIRONMENTS}
    for model in made.models:
        for name in ENVIRONMENTS:
            path = folder / "environments" / f"{model}-{name}.yaml"
            path.write_text(texts[name].application.replace("THE-MODEL", model))
    made.config.write_text(_config(made, patterns=patterns))
    _commit(made, texts)
    return made


@dataclass(frozen=True)
class _Texts:
    """The files of an environment, with THE-MODEL where the model's name goes."""

    application: str
    overlay: Mapping[str, str]

    @classmethod
    def of(cls, name: str, remote: Path) -> _Texts:
        text = _SHIPPED[f"environments/{name}.yaml"].decode()
        text = text.replace("fraud-detector-", "THE-MODEL-").replace(f"overlays/{name}", f"overlays/THE-MODEL/{name}")
        text = text.replace("project: fraud-detector", "project: default").replace(_REMOTE, f"file://{remote}")
        old, path = f"overlays/{name}/", f"overlays/THE-MODEL/{name}"
        files = {
            file.replace(old, f"{path}/"): content.replace(b"fraud-detector", b"THE-MODEL").replace(
                b"../../base", b"../../../base"
            )
            for file, content in _SHIPPED.items()
            if file.startswith(old)
        }
        model = Model("THE-MODEL", f"{REGISTRY}/THE-MODEL", "inference-service", "release.yaml")
        environment = Environment(name, model, Application(f"THE-MODEL-{name}", "default", "argocd", "", path, "main"))
        edited = parse_overlay(read_overlay(Files(files), environment)).write(model, release("THE-MODEL", ENVIRONMENTS[name]))
        return cls(text, {file: content.decode() for file, content in {**files, **edited.files}.items()})


def _config(made: Fleet, *, patterns: bool) -> str:
    lines = ["models:"]
    for model in made.models:
        lines += [f"  {model}:", f"    image: {REGISTRY}/{model}", "    kustomize-image: inference-service"]
    lines += ["environments:"]
    for model in ["*"] if patterns else made.models:
        for name in ENVIRONMENTS:
            application = "environments/{model}-{env}.yaml" if patterns else f"environments/{model}-{name}.yaml"
            named = 'models: ["*"]' if patterns else f"model: {model}"
            lines += [f"- name: {name}", f"  {named}", f"  application: {application}", f"  alias: {_ALIASES[name]}"]
            lines += ["  on-alias: promote"]
    lines += ["image:", "  runtime: scratch", "  layout: oci:images", f"  sources: [{made.folder / 'files'}]"]
    lines += ["mlflow:", "  record: aliases", "git:", f"  push-url: file://{made.remote}"]
    return "\n".join(lines) + "\n"


def _commit(made: Fleet, texts: Mapping[str, _Texts]) -> None:
    """All overlays, and the base, in one commit."""
    git = ["git", "-C", str(made.remote)]
    subprocess.run(["git", "init", "-q", "--bare", "-b", "main", str(made.remote)], check=True)
    for key in ("uploadpack.allowFilter", "uploadpack.allowAnySHA1InWant"):
        subprocess.run([*git, "config", key, "true"], check=True)
    files = {path: content for path, content in _SHIPPED.items() if path.startswith("base/")}
    for model in made.models:
        for one in texts.values():
            files |= {
                path.replace("THE-MODEL", model): text.replace("THE-MODEL", model).encode()
                for path, text in one.overlay.items()
            }
    stream = [b"commit refs/heads/main\ncommitter Fleet <fleet@example.com> now\ndata 5\nfleet\n"]
    stream += [b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(text), text) for path, text in files.items()]
    subprocess.run([*git, "fast-import", "--quiet", "--date-format=now"], input=b"".join(stream), check=True)


# -- the servers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Servers:
    """MLflow and Argo CD at one address, in a process of their own."""

    url: str

    def counted(self) -> dict[str, int]:
        """Requests since the last time it was asked, by `mlflow` and `argocd`."""
        return dict(requests.get(f"{self.url}/count", timeout=30).json())


@contextmanager
def servers(made: Fleet, *, milliseconds: float = 20.0, paged: bool = True) -> Iterator[Servers]:
    """Each answer takes so long. `paged`: MLflow's registered-models/search answers with aliases."""
    command = [sys.executable, "-m", "benchmarks.fleet_servers", str(made.size), str(made.remote), str(milliseconds)]
    command += [str(made.folder / "files"), "paged" if paged else "single"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Servers(f"http://127.0.0.1:{json.loads(process.stdout.readline())}")
        finally:
            process.kill()
