"""A GitOps repository of a large company, made by rule: the same commits, and so the same ids, wherever it is made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

TEAMS, MODELS, FILES = 100, 100, 10
COMMITS = 50_000
EDITED = "teams/t042/models/m017/overlays/production/kustomization.yaml"
_NAMES = (
    "base/rollout.yaml",
    "base/service.yaml",
    "base/analysis.yaml",
    "base/kustomization.yaml",
    "overlays/staging/kustomization.yaml",
    "overlays/staging/release.yaml",
    "overlays/staging/patch.yaml",
    "overlays/production/kustomization.yaml",
    "overlays/production/release.yaml",
    "overlays/production/patch.yaml",
)
_START = 1_700_000_000
_WRITTEN_BY_PROMOTER = (4, 7)


def generate(path: Path, commits: int = COMMITS, teams: int = TEAMS) -> None:
    """A bare repository at `path`: `teams` x 1,000 files in its first commit, then one new image tag a commit, each in
    another model's overlay."""
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(path)], check=True)
    for key in ("uploadpack.allowFilter", "http.receivepack"):
        subprocess.run(["git", "-C", str(path), "config", key, "true"], check=True)
    command = ["git", "-C", str(path), "fast-import", "--quiet", "--max-pack-size=2g"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.writelines(_stream(commits, teams))
        process.stdin.close()
        assert process.wait() == 0
    subprocess.run(["git", "-C", str(path), "repack", "-adq", "--write-bitmap-index"], check=True)


def _stream(commits: int, teams: int) -> Iterator[bytes]:
    yield _commit(0, "Every model of every team")
    for number in range(teams * MODELS * FILES):
        yield _file(number, 0)
    yield b"\n"
    for change in range(1, commits):
        model = change * 7919 % (teams * MODELS)  # a prime: neighbours in time are far apart in the tree
        number = model * FILES + _WRITTEN_BY_PROMOTER[change % 2]
        yield _commit(change, f"Promote model {model} to version {change}") + _file(number, change) + b"\n"


def _commit(number: int, subject: str) -> bytes:
    return b"commit refs/heads/main\ncommitter Ada <ada@example.org> %d +0000\ndata %d\n%s\n" % (
        _START + 60 * number,
        len(subject),
        subject.encode(),
    )


def _file(number: int, version: int) -> bytes:
    model, file = divmod(number, FILES)
    content = _content(_NAMES[file], model, version)
    path = f"teams/t{model // MODELS:03d}/models/m{model % MODELS:03d}/{_NAMES[file]}"
    return b"M 100644 inline %s\ndata %d\n%s\n" % (path.encode(), len(content), content)


def _content(name: str, model: int, version: int) -> bytes:
    lines = [f"# {name} of model {model}: ask its team before changing anything but images.", "apiVersion: v1"]
    lines += [f"setting-{n}: value-{(model * 31 + n) % 9973}" for n in range(8)]
    lines += ["images:", f"  - name: model-{model}", f'    newTag: "v{version}"']
    return ("\n".join(lines) + "\n").encode()


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
