"""What differs between the versions of two environments, with a real MLflow and a real Git remote."""

from __future__ import annotations

import json
from typing import Any

from promoter.cli.history_text import diff_text
from promoter.commands.diff import diff
from tests.support.write_path import WritePath, path

__all__ = ["path"]

MLMODEL = """\
flavors:
  python_function:
    loader_module: model
signature:
  inputs: '[{"name": "age", "type": "%s"}]'
  outputs: '[{"type": "double"}]'
"""


def register(path: WritePath, kind: str, numpy: str, depth: str, **metrics: float) -> str:
    server = path.server
    run = server.create_run(metrics)
    server.api("POST", "runs/log-parameter", run_id=run, key="max_depth", value=depth)
    server.api("POST", "runs/log-parameter", run_id=run, key="seed", value="1")
    required = f"numpy=={numpy}\nscikit-learn==1.7.0\n--no-binary x\n".encode()
    files = {"MLmodel": (MLMODEL % kind).encode(), "requirements.txt": required, "weights.bin": run.encode()}
    return server.register(path.model, f"models:/{server.log_model(files, run_id=run)}", run_id=run)


def released(path: WritePath) -> None:
    """Staging has a newer version than production."""
    first = register(path, "long", "2.3.0", "4", accuracy=0.9, recall=0.5)
    second = register(path, "double", "2.4.0", "6", accuracy=0.95, f1=0.8)
    path.promote(f"{path.model}:{first}", to="production")
    path.promote(f"{path.model}:{second}", to="staging")


def answered(path: WritePath, *arguments: str, code: int = 0, **environ: str) -> Any:
    done = path.run("diff", *arguments, "-o", "json", **environ)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_everything_that_differs_is_there_and_nothing_else(path: WritePath) -> None:
    released(path)
    found = answered(path, "production", "staging")
    assert (found["environments"], found["was"]["version"], found["now"]["version"]) == (["production", "staging"], "1", "2")
    known = {(one["of"], one["name"]): (one["was"], one["now"]) for one in found["differences"]}
    assert {key: known[key] for key in known if key[0] != "release"} == {
        ("metric", "accuracy"): (0.9, 0.95),
        ("metric", "f1"): (None, 0.8),
        ("metric", "recall"): (0.5, None),
        ("parameter", "max_depth"): ("4", "6"),
        ("signature inputs", "age"): ("long", "double"),
        ("requirement", "numpy"): ("2.3.0", "2.4.0"),
    }
    assert {name for of, name in known if of == "release"} == {"version", "content digest", "image", "run"}


def test_as_people_read_it(path: WritePath) -> None:
    released(path)
    clients = path.clients()
    production, staging = (clients.environment(name) for name in ("production", "staging"))
    shown = diff_text(diff(clients, production, staging))
    assert shown.startswith(f"{path.model}: production (1) → staging (2)\n")
    lines = [line.split() for line in shown.splitlines()]
    assert ["metric", "accuracy", "0.9", "→", "0.95", "(+0.05)"] in lines
    assert ["metric", "recall", "0.5", "→", "(none)"] in lines
    assert diff_text(diff(clients, staging, staging)).splitlines()[1] == "  the same release"


def test_without_mlflow_git_is_compared_and_the_rest_is_not_known(path: WritePath) -> None:
    released(path)
    found = answered(path, "production", "staging", code=4, MLFLOW_TRACKING_URI="http://127.0.0.1:9")
    assert {one["of"] for one in found["differences"]} == {"release"}
    assert "version 1 is not compared" in found["notes"][0]


def test_an_environment_without_a_release_is_refused(path: WritePath) -> None:
    path.register()
    path.promote(f"{path.model}:1")
    done = path.run("diff", "staging", "production")
    assert (done.returncode, "'production' deploys no release" in done.stderr) == (20, True)
