"""Where promoter may run: as a uid that nobody knows, in a folder that is gone, without processes or files left."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from promoter.cli import last
from promoter.errors import UnreachableError, UsageError
from promoter.machine import home
from tests.support.argo_world import world

PROMOTER = [sys.executable, "-m", "promoter"]


def run(arguments: Sequence[str], cwd: Path | str = "/", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(arguments), capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, **environ})


def test_a_uid_without_home_and_passwd_entry_writes_to_git(tmp_path: Path) -> None:
    """As containers run: it commits, and what it keeps is in a temporary folder of its own."""
    namespace = ["unshare", "--user", "--map-user=12345", "--map-group=12345"]
    if run([*namespace, "true"]).returncode:
        pytest.skip("needs a user namespace of its own")
    with world(tmp_path, os.environ) as it:
        it.promote(2)
        command = [*PROMOTER, "rollback", "staging", "--yes", "--no-watch", "-c", str(tmp_path / "promoter.yaml")]
        bare = ["env", "-u", "HOME", "-u", "USER", "-u", "LOGNAME", "-u", "XDG_CACHE_HOME", f"TMPDIR={tmp_path}"]
        done = run([*namespace, *bare, *command])
        assert (done.returncode, it.committed().release.version) == (0, "1"), done.stderr
    kept = tmp_path / "promoter-12345"
    assert kept.stat().st_mode & 0o777 == 0o700
    assert (kept / ".cache/promoter/git").is_dir()


@pytest.mark.parametrize("planted", ["a link", "open to all"])
def test_a_temporary_home_is_nobody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 4_000_123)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / "promoter-4000123"
    if planted == "a link":
        folder.symlink_to(tmp_path)
    else:
        folder.mkdir(mode=0o777)
    with pytest.raises(UsageError, match="is not a folder of this user alone"):
        home.home({})
    assert home.home({"HOME": "/somewhere"}) == Path("/somewhere")


def test_a_folder_that_was_removed_is_a_sentence(tmp_path: Path) -> None:
    shell = f'mkdir {tmp_path}/gone && cd {tmp_path}/gone && rmdir {tmp_path}/gone && exec "$@"'
    done = run(["sh", "-c", shell, "sh", *PROMOTER, "status"])
    assert done.returncode == 2
    assert done.stderr.splitlines()[:2] == [
        "warning: the current folder was removed, or can't be read; going on in /",
        "error: no promoter.yaml in / or any folder above it",
    ]
    named = run(["sh", "-c", shell, "sh", *PROMOTER, "schema"])
    assert (named.returncode, named.stdout[:1]) == (0, "{")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "no process, thread or file left for promoter"),
        (OSError(errno.EMFILE, "Too many open files"), "no process, thread or file left for promoter: Too many open files"),
        (RuntimeError("can't start new thread"), "no process, thread or file left for promoter: can't start new thread"),
        (PermissionError(errno.EACCES, "Permission denied", "/x/promoter.yaml"), "/x/promoter.yaml: Permission denied"),
    ],
)
def test_what_the_machine_refuses_is_a_sentence(capsys: pytest.CaptureFixture[str], error: Exception, message: str) -> None:
    code = last.last_word(error)
    said = capsys.readouterr().err
    assert code == (2 if isinstance(error, PermissionError) else 4)
    assert message in said
    assert "Traceback" not in said


def test_a_process_that_can_not_be_started_is_an_outage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """ulimit -u 1."""

    def refuse(*_: object, **__: object) -> None:
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    with world(tmp_path, os.environ) as it:
        repository = it.clients.repository(it.environment.application)
        monkeypatch.setattr("subprocess.Popen.__init__", refuse)
        with pytest.raises(UnreachableError, match="no process, thread or file left"):
            repository.fetch()
