"""promoter compared with `argocd app wait --sync --health`, in the same run: right after the push, and after a refresh.

Five cases in which being right is not obvious. What each of them reported, and when, goes into a table.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime

import pytest

from tests.cluster.cluster import ENVIRON, ROOT, eventually
from tests.cluster.command import Run
from tests.cluster.environment import Environment
from tests.cluster.manifests import NAME, WORKLOAD
from tests.cluster.model_versions import GOOD, LOST, NEWER, UNHEALTHY

pytestmark = pytest.mark.variant("unscaled")

_TABLE = ROOT / "docs" / "cluster-peers.md"
_HEAD = """# Compared with `argocd app wait --sync --health`

Written by `PROMOTER_CLUSTER_TABLE=1 make test-cluster`: every row is one run, in which all three start right after the push. An exit code
of 0 is wrong if another release runs, any other code is wrong if our release runs. Seconds count from their start; promoter's are those until
it reported its verdict, which it then confirms. The overlay has no autoscaler: if one is Degraded, as without a metrics server,
`argocd app wait` ends with 20 whatever the release does.

| what happened after the push | argocd app wait, at once | argocd app wait, after a refresh | promoter | truth |
|---|---|---|---|---|
"""


@dataclass
class Peer:
    """One `argocd app wait`: how it ended, when, and whether our release was live at that moment."""

    environment: Environment
    digest: str
    refresh: bool
    exit_code: int | None = None
    seconds: float = 0.0
    live: bool = False
    _thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def finish(self) -> Peer:
        self._thread.join(timeout=200)
        assert self.exit_code is not None, "argocd app wait did not end"
        return self

    def _run(self) -> None:
        started = time.monotonic()
        if self.refresh:
            self._argocd("get", "--refresh")
        code = self._argocd("wait", "--sync", "--health", "--timeout", "120")
        self.seconds, self.live = time.monotonic() - started, self.environment.is_live(self.digest)
        self.exit_code = code

    def _argocd(self, verb: str, *options: str) -> int:
        server = self.environment.cluster.argocd_server
        plain = ("--plaintext",) if server.startswith("http://") else ()
        environ = {
            **ENVIRON,
            "ARGOCD_SERVER": server.split("://")[-1],
            "ARGOCD_AUTH_TOKEN": self.environment.cluster.argocd_token,
        }
        command = [
            "argocd",
            "app",
            verb,
            self.environment.name,
            *options,
            *plain,
            "--app-namespace",
            self.environment.cluster.argocd_namespace,
        ]
        return subprocess.run(command, env=environ, capture_output=True, check=False, timeout=180).returncode

    def __str__(self) -> str:
        right = (self.exit_code == 0) == self.live
        return f"exit {self.exit_code} after {self.seconds:.1f} s: {'right' if right else '**wrong**'}"


@pytest.fixture(scope="module")
def rows() -> Iterator[list[str]]:
    if shutil.which("argocd", path=ENVIRON.get("PATH")) is None:
        pytest.skip("no argocd command to compare with: argocd missing")
    made: list[str] = []
    yield made
    if ENVIRON.get("PROMOTER_CLUSTER_TABLE") and made:
        _TABLE.write_text(_HEAD + "".join(made))


def compare(environment: Environment, commit: str, *, meanwhile: Callable[[], object] = lambda: None) -> tuple[Run, str]:
    """promoter's run and the peers' cells, all begun now; `meanwhile` happens after they have."""
    digest = environment.overlay_digest(commit)
    peers = [Peer(environment, digest, refresh=False), Peer(environment, digest, refresh=True)]
    run = environment.promoter.start("watch", NAME, "--commit", commit, "--no-restore")
    meanwhile()
    run.finish()
    return run, " | ".join(str(peer.finish()) for peer in peers)


def told(run: Run) -> str:
    """Promoter's cell: what it reported, and how long after its start it did so first."""
    kind, reason = run.verdict
    verdicts = [event for event in run.events if event["event"] == "verdict"]
    first = next(event for event in verdicts if event["kind"] == kind)
    seconds = (datetime.fromisoformat(first["time"]) - datetime.fromisoformat(verdicts[0]["time"])).total_seconds()
    return f"{': '.join(filter(None, (kind, reason)))} after {seconds:.1f} s, exit {run.exit_code}"


def test_alongside_argocd_good_canary(environment: Environment, rows: list[str]) -> None:
    run, peers = compare(environment, environment.commit(GOOD))
    assert (run.exit_code, run.verdict) == (0, ("live", None)), str(run)
    rows.append(f"| good canary | {peers} | {told(run)} | live |\n")


def test_alongside_argocd_analysis_fails(environment: Environment, rows: list[str]) -> None:
    run, peers = compare(environment, environment.commit(UNHEALTHY))
    assert (run.exit_code, run.verdict) == (11, ("aborted", "analysis failed")), str(run)
    rows.append(f"| analysis fails | {peers} | {told(run)} | aborted |\n")


def test_alongside_argocd_image_missing(environment: Environment, rows: list[str]) -> None:
    commit = environment.commit(LOST)
    environment.service.models.delete(environment.overlay_digest(commit))
    run, peers = compare(environment, commit)
    assert (run.exit_code, run.verdict) == (11, ("failed", "image")), str(run)
    assert "not found" in str(run.outcome["verdict"]["evidence"]), "the registry's own sentence is not told"
    rows.append(f"| image not in the registry | {peers} | {told(run)} | never live |\n")


def test_alongside_argocd_image_override(environment: Environment, rows: list[str]) -> None:
    assert environment.before is not None
    commit, stable = environment.commit(GOOD), environment.before.digest
    override = f"{WORKLOAD}={environment.service.models.reference}@{stable}"
    environment.patch_application({"spec": {"source": {"kustomize": {"images": [override]}}}})
    run, peers = compare(environment, commit)
    assert (run.exit_code, run.verdict) == (12, ("masked", None)), str(run)
    assert override in str(run.outcome["verdict"]), "the override is not named"
    rows.append(f"| image override on the Application | {peers} | {told(run)} | another version runs |\n")


def test_alongside_argocd_newer_promotion(environment: Environment, rows: list[str]) -> None:
    commit = environment.commit(GOOD)

    def supersede() -> None:
        eventually("the canary began", lambda: environment.status().get("phase") in ("Progressing", "Paused"))
        environment.commit(NEWER)

    run, peers = compare(environment, commit, meanwhile=supersede)
    assert (run.exit_code, run.verdict) == (21, ("superseded", None)), str(run)
    rows.append(f"| a newer promotion during the canary | {peers} | {told(run)} | superseded |\n")
