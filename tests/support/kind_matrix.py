"""Kinds of models × lines of MLflow: each pair is served and answers as `predict` does, or is refused before anything is made."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from promoter.errors import RefusedError
from tests.support.old_mlflow import environment

ROOT = Path(__file__).parents[2]
KINDS = (
    "scikit-learn",
    "XGBoost",
    "LightGBM",
    "ONNX",
    "Python class",
    "Python code",
    "ChatModel",
    "ResponsesAgent",
    "LangChain",
)
TORCH_KINDS, TORCH_LINE = ("PyTorch", "Transformers"), "3.17.2"
NEWEST_ONLY = ("LangChain", *TORCH_KINDS)  # what is not tried with older lines
_TORCH, _TORCH_PACKAGES = ROOT / ".tools/bin/python3.13-torch", ROOT / ".tools/torch-packages"
_PACKAGES = "scikit-learn\nxgboost-cpu\nlightgbm\nonnx\nonnxruntime"
# What a model of that time has next to its MLflow.
LINES = {
    "1.30.1": "pandas<2\nnumpy<1.24",
    "2.0.1": "pandas<2\nnumpy<1.24\nscikit-learn<1.3",
    "2.9.2": "pandas<2.2\nnumpy<2\nscikit-learn<1.4",
    "2.13.2": "pandas<2.3\nnumpy<2\nscikit-learn<1.6",
    "2.16.2": "pandas<2.3\nnumpy<2\nscikit-learn<1.6",
    "2.20.4": "pandas<2.3\nnumpy<2.3\nscikit-learn<1.7",
    "3.17.2": "skops\nlangchain",
}


@dataclass(frozen=True)
class Cell:
    """`same`: the server answers what `predict` returns. `why` is the error, or the refusal of the line."""

    kind: str
    line: str
    same: bool
    why: str = ""
    refused: bool = False


def cells(line: str, folder: Path, kinds: Sequence[str] = KINDS) -> Iterator[Cell]:
    """One for each kind that this MLflow has; one for all kinds of an MLflow that promoter refuses."""
    try:
        python = environment(f"kinds-{line}", f"mlflow=={line}\n{LINES[line]}\n{_PACKAGES}\n")
    except RefusedError as refused:
        yield from (Cell(kind, line, False, refused.message, refused=True) for kind in kinds)
        return
    yield from _cells(python, line, folder, kinds)


def torch_cells(folder: Path) -> Iterator[Cell]:
    """PyTorch as Debian builds it, for processors only, under its own Python and C library; what pip has of it is for GPUs."""
    if not _TORCH.exists():
        pytest.skip("no PyTorch is here (.ci/models unpacks Debian's into .tools)")
    (folder / "torch").mkdir()
    yield from _cells(_TORCH, TORCH_LINE, folder / "torch", TORCH_KINDS, PYTHONPATH=f"{ROOT}:{_TORCH_PACKAGES}")


def _cells(python: Path, line: str, folder: Path, kinds: Sequence[str], **environ: str) -> Iterator[Cell]:
    kept = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "MLFLOW_DISABLE_TELEMETRY": "true", "HOME": str(folder)}
    done = subprocess.run(
        [python, "-m", "tests.support.kinds", folder, *kinds],
        cwd=folder,
        env=kept | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [json.loads(text) for text in done.stdout.splitlines() if text.startswith('{"kind"')]
    for one in told:
        yield Cell(one["kind"], line, "answers" in one and one["answers"] == one["predicts"], one.get("error", ""))
    if done.returncode != 0:
        kind = next((kind for kind in kinds if kind not in {one["kind"] for one in told}), "")
        yield Cell(kind, line, False, done.stderr.strip().splitlines()[-1])
