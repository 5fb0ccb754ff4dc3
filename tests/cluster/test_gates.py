"""Gates that ask a live Argo CD or a program: what became of a version in an earlier environment, and a check of the team's own.

The later environment is an overlay without a release in the same repository; its Application does not exist.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import ROOT, eventually
from tests.cluster.environment import Environment
from tests.cluster.manifests import NAME
from tests.cluster.model_versions import GOOD, MODEL, NEWER, STABLE, UNHEALTHY

LATER = "production"

# A check as a team writes it: it gets the facts as JSON, and its last line is the reason.
_CHECK = f"""\
import json, sys
facts = json.load(sys.stdin)
live = (facts["live"] or {{}}).get("version")
print("checking", facts["model"], facts["version"]["version"], "against", live)
print("nobody has signed it off" if facts["version"]["version"] == "{NEWER}" else f"better than {{live}}")
sys.exit(facts["version"]["version"] == "{NEWER}")
"""


@pytest.fixture
def later(environment: Environment) -> Environment:
    """With a second environment, which comes after the first one."""
    promoter = environment.promoter

    def edit(root: Path) -> None:
        shutil.copytree(ROOT / "overlays" / LATER, root / "overlays" / LATER)

    environment.repository.commit("Add a later environment", edit)
    manifest = yaml.safe_load((promoter.folder / "environments" / f"{NAME}.yaml").read_text())
    manifest["metadata"]["name"] = f"{environment.name}-{LATER}"
    manifest["spec"]["source"]["path"] = f"overlays/{LATER}"
    (promoter.folder / "environments" / f"{LATER}.yaml").write_text(yaml.safe_dump(manifest))
    _gated(environment, {})
    return environment


def _gated(environment: Environment, gates: dict[str, Any]) -> None:
    """What the later environment asks."""
    first = yaml.safe_load((environment.promoter.folder / "promoter.yaml").read_text())["environments"][0]
    second = {"name": LATER, "model": MODEL, "application": f"environments/{LATER}.yaml", "gates": gates}
    environment.promoter.configure(environments=[first, second])


def asked(environment: Environment, version: str, gate: str, to: str = LATER) -> tuple[int, str]:
    """The exit code of `promoter gates`, and what this gate has to say."""
    code, found = environment.promoter.ask("gates", to, f"{MODEL}:{version}")
    return code, "; ".join(one["detail"] for one in found["gates"] if one["gate"] == gate)


def test_what_is_not_live_in_an_earlier_environment_waits(later: Environment) -> None:
    """Not built, in its canary, live for too short a time: each is refused; then it passes."""
    _gated(later, {"after": {"environment": NAME, "soak": "45s"}})
    assert asked(later, GOOD, "after") == (20, "its image is not built yet, so it was never live there")
    run = later.promoting(GOOD)
    run.until("rolling")
    code, words = asked(later, GOOD, "after")
    assert (code, words.startswith("it is deployed there, and not known to be live: ")) == (20, True), words
    later.assert_live(run.finish())
    code, words = asked(later, GOOD, "after")
    assert (code, words.startswith("live there for "), words.endswith("and must be for 45 s")) == (20, True, True), words
    tip = later.repository.tip()
    refused = later.promoter.start("promote", f"{MODEL}:{GOOD}", "--to", LATER, "--no-watch").finish()
    assert (refused.exit_code, later.repository.tip()) == (20, tip), str(refused)
    eventually("it has been live for long enough", lambda: asked(later, GOOD, "after")[0] == 0)
    promoted = later.promoter.start("promote", f"{MODEL}:{GOOD}", "--to", LATER, "--no-watch").finish()
    assert (promoted.exit_code, promoted.commit) == (0, later.repository.tip()), str(promoted)


def test_what_was_quarantined_in_an_earlier_environment_comes_no_further(later: Environment) -> None:
    failed = later.promote(UNHEALTHY)
    assert (failed.exit_code, failed.verdict) == (10, ("aborted", "analysis failed")), str(failed)
    tip = later.repository.tip()
    code, words = asked(later, UNHEALTHY, "earlier")
    assert (code, f"{MODEL}:{UNHEALTHY} is quarantined in '{NAME}'" in words) == (20, True), words
    refused = later.promoter.start("promote", f"{MODEL}:{UNHEALTHY}", "--to", LATER, "--no-watch").finish()
    assert (refused.exit_code, later.repository.tip()) == (20, tip), str(refused)
    assert asked(later, GOOD, "earlier") == (0, "nothing stands against it there")


def test_a_check_of_ones_own_decides(environment: Environment) -> None:
    (environment.promoter.folder / "check.py").write_text(_CHECK)
    environment.promoter.configure({"gates": {"command": [sys.executable, "check.py"]}})
    tip = environment.repository.tip()
    refused = environment.promote(NEWER)
    assert (refused.exit_code, environment.repository.tip()) == (20, tip), str(refused)
    assert "nobody has signed it off" in json.dumps(refused.outcome), str(refused)
    assert asked(environment, GOOD, "command", NAME) == (0, f"better than {STABLE}")
    environment.assert_live(environment.promote(GOOD))
