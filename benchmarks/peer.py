"""The same promotion as a pipeline's shell script does it: clone, `kustomize edit set image`, commit, pull --rebase, push."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

_TRIES = 10  # Kargo's


def main(kustomize: str, url: str, overlay: str, model: str) -> None:
    """Prints `ready`, waits for a line; then prints `landed`, `conflict` or `gave up`, and the pushes that it took."""
    print("ready", flush=True)
    sys.stdin.readline()
    with tempfile.TemporaryDirectory() as folder:
        print(*_promote(kustomize, url, Path(folder, "clone"), overlay, model), sep="\t")


def _promote(kustomize: str, url: str, clone: Path, overlay: str, model: str) -> tuple[str, int]:
    def git(*arguments: str) -> bool:
        return subprocess.run(["git", *arguments], cwd=clone, capture_output=True, check=False).returncode == 0

    subprocess.run(["git", "clone", "--quiet", url, str(clone)], check=True)
    image = f"{model}=registry.example.com/{model}:v2"
    subprocess.run([kustomize, "edit", "set", "image", image], cwd=clone / overlay, check=True)
    git("commit", "--all", "--quiet", "--message", f"Promote {model} version 2")
    for pushes in range(1, _TRIES + 1):
        if not git("pull", "--quiet", "--rebase"):
            return "conflict", pushes - 1
        if git("push", "--quiet"):
            return "landed", pushes
    return "gave up", _TRIES


if __name__ == "__main__":
    main(*sys.argv[1:])
