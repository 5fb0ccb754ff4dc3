"""However a command ends, it has a last word: a line of JSON, the next commands, its exit code; whatever its streams are."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import pytest

from promoter.errors import UnreachableError
from promoter.gitops.failures import GitError, Kind
from promoter.gitops.remote import Remote
from tests.support.argo_world import World, world
from tests.support.notice_channels import Channels, there

__all__ = ["there"]
SHARED = {"commit", "exit_code", "error", "resume", "event", "time"}


@pytest.fixture
def it(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path, os.environ, settings="watch: {stable-for: 0}\n") as one:
        yield one


def command(*arguments: str, of: World | None = None) -> list[str]:
    options = ["-c", str(of.folder / "promoter.yaml")] if of else []
    return [sys.executable, "-m", "promoter", *arguments, *options]


def outcome(stdout: str) -> dict[str, Any]:
    last = json.loads(stdout.splitlines()[-1])
    assert last["event"] == "outcome"
    assert set(last) >= SHARED
    return dict(last)


# -- errors and signals -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("promote", "m@champion", "--to", "staging", "--nope"), "No such option: --nope"),
        (("watch",), "Missing argument 'ENV'"),
        (("nope",), "No such command 'nope'"),
        (("rollback", "staging", "--model", "m"), "no promoter.yaml in"),
        (("reconcile", "-c", "/nowhere/promoter.yaml"), "/nowhere/promoter.yaml can't be read"),
    ],
)
def test_a_usage_error_and_an_early_one_end_with_an_outcome(tmp_path: Path, arguments: Sequence[str], message: str) -> None:
    done = subprocess.run(command(*arguments, "-o", "json"), capture_output=True, text=True, cwd=tmp_path, check=False)
    last = outcome(done.stdout)
    assert message in last["error"]["message"]
    assert (done.returncode, last["exit_code"], last["commit"], last["resume"]) == (2, 2, None, None)
    assert f"error: {last['error']['message']}" in done.stderr
    assert last["error"]["hint"] in done.stderr


def test_what_nobody_foresaw_ends_with_an_outcome_too(tmp_path: Path) -> None:
    broken = tmp_path / "promoter.yaml"
    program = f"""
import sys, promoter.cli.common as common
sys.argv = ["promoter", "status", "-o", "json", "-c", {str(broken)!r}]
from promoter.cli import environments, main
def fail(*_): raise TypeError("unforeseen")
environments.clients_of = fail
main()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert outcome(done.stdout)["error"]["message"] == "TypeError: unforeseen"
    assert done.returncode == outcome(done.stdout)["exit_code"] == 1
    assert "Traceback" in done.stderr


def not_ignoring_signals() -> None:
    """The tests may run in the background or under nohup, which ignore some; a child would ignore them as well."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_during_a_watch_names_the_next_commands_and_ends_the_notices(
    tmp_path: Path, there: Channels, number: signal.Signals
) -> None:
    with world(tmp_path, {**os.environ, **there.environ}, settings=there.configuration("own")) as it:
        commit = it.promote(2).commit.sha
        arguments = command("watch", "staging", "-o", "json", of=it)
        pipe, environ = subprocess.PIPE, it.clients.environ
        with subprocess.Popen(
            arguments, stdout=pipe, stderr=pipe, text=True, env=environ, preexec_fn=not_ignoring_signals
        ) as process:
            assert process.stdout is not None
            first = process.stdout.readline()
            process.send_signal(number)
            process.send_signal(number)
            out, err = process.communicate()
    last = outcome(first + out)
    assert process.returncode == last["exit_code"] == 128 + number
    assert last["commit"] == commit
    assert last["error"]["message"].startswith(f"interrupted by {number.name}; {commit[:10]} is committed to staging")
    again = f"--config {tmp_path / 'promoter.yaml'}"
    assert last["resume"] == f"promoter watch staging --commit {commit} {again}"
    assert f"hint: watch it to its end: {last['resume']}\n" in err
    assert f"hint: or go back to the release before: promoter rollback staging {again}\n" in err
    assert "Traceback" not in err
    notices = [one.value for one in there.at("/own/")]
    assert [notice["data"]["kind"] for notice in notices] == ["started", "failed"]
    assert f"promoter stopped watching it: interrupted by {number.name}" in json.dumps(notices[-1])


def test_a_signal_that_is_ignored_stays_ignored(it: World) -> None:
    """nohup: a closed terminal ends nothing."""
    it.promote(2)
    arguments = ["nohup", *command("watch", "staging", "-o", "json", of=it)]
    pipe = subprocess.PIPE
    with subprocess.Popen(arguments, stdout=pipe, stderr=pipe, text=True, env=it.clients.environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        it.settle()
        out, _ = process.communicate()
    assert (process.returncode, outcome(out)["exit_code"]) == (0, 0)


# -- stdout and stderr ------------------------------------------------------------------------------------------------


def _gone() -> IO[str]:
    """A pipe that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w")


@pytest.mark.parametrize("shell", ["-o json >/dev/full", ">/dev/full 2>&1", "-o json 2>&-", ">&- 2>&- <&-"])
def test_a_stream_that_is_full_or_closed_costs_no_watch(it: World, shell: str) -> None:
    it.promote(2)
    it.settle()
    arguments = ["sh", "-c", f'exec "$@" {shell}', "sh", *command("watch", "staging", of=it)]
    done = subprocess.run(arguments, capture_output=True, text=True, env=it.clients.environ, check=False)
    assert "Traceback" not in done.stdout + done.stderr
    assert "Exception ignored" not in done.stderr
    assert done.returncode == 0


def test_streams_that_nobody_reads_cost_no_watch(it: World) -> None:
    it.promote(2)
    it.settle()
    with _gone() as gone:
        arguments = command("watch", "staging", of=it)
        done = subprocess.run(arguments, stdout=gone, stderr=gone, env=it.clients.environ, check=False)
        assert done.returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_an_encoding_has_no_sign_for_is_replaced(it: World, encoding: str) -> None:
    it.promote(2)
    it.promote(3)
    environ = {**it.clients.environ, "PYTHONIOENCODING": encoding}
    arguments = command("rollback", "staging", "--yes", "--no-watch", of=it)
    done = subprocess.run(arguments, capture_output=True, env=environ, check=False)
    assert done.returncode == 0
    assert b"3 -> 2" in done.stderr
    arguments = command("history", "staging", "-o", "json", of=it)
    listed = subprocess.run(arguments, capture_output=True, env=environ, check=True)
    assert json.loads(listed.stdout.decode(encoding))[0]["version"] == "2"


@pytest.mark.parametrize("shell", [">/dev/full", ">&-"])
def test_data_that_does_not_arrive_is_an_error_without_a_traceback(shell: str) -> None:
    arguments = ["sh", "-c", f'exec "$@" {shell}', "sh", *command("schema")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if shell == ">/dev/full":
        assert (done.returncode, done.stderr.splitlines()[0]) == (4, "error: stdout can't be written: No space left on device")
    else:
        assert (done.returncode, done.stderr) == (0, "")


# -- a full disk ------------------------------------------------------------------------------------------------------

_MOUNTED = 'mount -t tmpfs -o size=64k none "$0" && head -c 100000 /dev/zero > "$0/filled" 2>/dev/null; exec "$@"'


def test_a_full_disk_is_named_with_its_folder(it: World, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    inside = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    if subprocess.run([*inside, "mount", "-t", "tmpfs", "none", str(small)], capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small file system in a namespace of its own")
    arguments = [*inside, "sh", "-c", _MOUNTED, str(small), *command("history", "staging", "-o", "json", of=it)]
    environ = {**it.clients.environ, "XDG_CACHE_HOME": str(small)}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environ, check=False)
    last = outcome(done.stdout)
    assert done.returncode == last["exit_code"] == 4
    assert last["error"]["message"] == f"no space left on the disk of {small}/promoter/git"
    assert last["resume"].startswith("promoter history staging")


def test_a_full_disk_of_git_is_ours_and_not_the_remotes() -> None:
    ours = GitError("fetch", 128, "", "fatal: write error: No space left on device")
    theirs = GitError("push", 1, "", "remote: fatal: write error: No space left on device\nerror: remote unpack failed: x")
    assert (ours.kind, theirs.kind) == (Kind.FULL, Kind.UNREACHABLE)


def test_a_full_disk_in_one_look_is_an_outage(it: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever file it was met at: temporary ones have no name, and Python reports a full folder for them as missing."""
    repository = it.clients.repository(it.environment.application)
    for error, said in (
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk of /small"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/small/x/y"), "no space left on the disk of /small/x"),
        (FileNotFoundError(2, "No usable temporary directory found in ['/small']"), "no temporary file can be written: /small"),
    ):

        def fail(*_: object, error: OSError = error, **__: object) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setenv("TMPDIR", "/small")
            patch.setattr(Remote, "update", fail)
            with pytest.raises(UnreachableError) as caught:
                repository.fetch()
        assert caught.value.message.startswith(said)
