"""promoter as a person or a pipeline runs it: a command, its environment, and the JSON Lines that it prints."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import ENVIRON, eventually

_SECONDS = 300.0


@dataclass
class Run:
    """One run of promoter, perhaps still going on; `events` grows as it prints."""

    arguments: tuple[str, ...]
    process: subprocess.Popen[str]
    errors: Path
    events: list[dict[str, Any]] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def finish(self) -> Run:
        """Waits for its end; what it printed last must be the outcome, with the exit code of the process."""
        self.end()
        assert not self.noise, f"not JSON Lines on stdout: {self}"
        assert self.events, f"printed nothing: {self}"
        assert self.outcome.get("event") == "outcome", str(self)
        assert self.outcome["exit_code"] == self.exit_code, str(self)
        return self

    def end(self) -> int | None:
        """Waits for its end, whatever it is, as long as it gets further; gives the exit code."""
        printed = -1
        while len(self.events) > printed:
            printed = len(self.events)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=_SECONDS)
                break
        else:
            self.kill()
            pytest.fail(f"printed nothing for {_SECONDS:.0f} s: {self}")
        self._reader.join()
        self.seconds = time.monotonic() - self.started
        return self.exit_code

    def kill(self) -> None:
        """kill -9"""
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.seconds = time.monotonic() - self.started

    def until(self, kind: str) -> dict[str, Any]:
        """The first verdict of this kind; fails when promoter ends without one."""

        def look() -> dict[str, Any] | None:
            found = next((event for event in list(self.events) if event.get("kind") == kind), None)
            assert found or self.process.poll() is None, f"ended before {kind!r}: {self}"
            return found

        return eventually(f"a verdict {kind!r} in {self.arguments}", look, every=0.2)

    @property
    def exit_code(self) -> int | None:
        return self.process.returncode

    @property
    def outcome(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def commit(self) -> str:
        return str(self.outcome["commit"])

    @property
    def verdict(self) -> tuple[str | None, str | None]:
        """Kind and reason of the verdict it ended with."""
        verdict = self.outcome.get("verdict") or {}
        return verdict.get("kind"), verdict.get("reason")

    @property
    def kinds(self) -> list[str]:
        """The kinds of verdict in the order in which they were reported."""
        return [event["kind"] for event in self.events if event.get("event") == "verdict"]

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.noise.append(line)

    def __str__(self) -> str:
        printed = "\n".join([json.dumps(event) for event in self.events[-8:]] + self.noise)
        errors = self.errors.read_text() if self.errors.exists() else ""
        return f"promoter {shlex.join(self.arguments)} -> {self.process.returncode}\n{printed}\n{errors[-4000:]}"


@dataclass
class Promoter:
    """Runs promoter with the promoter.yaml in `folder`; CLUSTER_PROMOTER is the command, when it is not this repository's.

    Its PATH holds git alone and it knows no KUBECONFIG: what these tests show, it does through Git and Argo CD.
    """

    folder: Path
    environ: Mapping[str, str] = field(repr=False)
    runs: list[Run] = field(default_factory=list)

    def start(self, *arguments: str, **environ: str) -> Run:
        words = (*arguments, "--output", "json", "--config", str(self.folder / "promoter.yaml"))
        errors = self.folder / f"errors-{len(self.runs)}.txt"
        with errors.open("w") as stderr:
            process = subprocess.Popen(
                [*self._command(), *words],
                cwd=self.folder,
                env={**self.environ, **environ},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
            )
        run = Run(arguments, process, errors)
        self.runs.append(run)
        return run

    def configure(self, environment: Mapping[str, Any] | None = None, **sections: Any) -> None:
        """Changes promoter.yaml: keys of its one environment, and whole sections."""
        file = self.folder / "promoter.yaml"
        config = yaml.safe_load(file.read_text()) | sections
        config["environments"][0] |= environment or {}
        file.write_text(yaml.safe_dump(config))

    def value(self, *arguments: str) -> dict[str, Any]:
        """What a command prints that ends well, with one value, and watches nothing."""
        exit_code, value = self.ask(*arguments)
        assert exit_code == 0, f"{arguments}: exit code {exit_code}"
        return dict(value)

    def ask(self, *arguments: str, **environ: str) -> tuple[int, Any]:
        """The exit code and the value that such a command prints, however it ends."""
        words = [*self._command(), *arguments, "--output", "json", "--config", str(self.folder / "promoter.yaml")]
        done = subprocess.run(
            words, cwd=self.folder, env={**self.environ, **environ}, capture_output=True, text=True, timeout=2 * _SECONDS
        )
        assert done.stdout, f"{words}: {done.stderr}"
        return done.returncode, json.loads(done.stdout)

    def _command(self) -> list[str]:
        return shlex.split(ENVIRON.get("CLUSTER_PROMOTER", "")) or [sys.executable, "-m", "promoter"]

    def end(self) -> None:
        """Ends what a failed test left running."""
        for run in self.runs:
            if run.process.poll() is None:
                run.kill()
