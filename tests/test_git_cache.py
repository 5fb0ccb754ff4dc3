"""The cache of a branch may be lost, broken or planted at any time: it heals by itself, and nothing in it is obeyed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from promoter.errors import UsageError
from promoter.gitops import Proposal, Repository
from promoter.machine.folders import make_private, temporary
from tests.support.git_server import BareRepository, bare_repository, isolated_environ

FILE = "overlays/e/release.yaml"


@pytest.fixture
def origin(tmp_path: Path) -> BareRepository:
    repository = bare_repository(tmp_path)
    for number in (b"1", b"2"):
        repository.commit({FILE: number})
    return repository


def opened(origin: BareRepository, tmp_path: Path) -> Repository:
    return Repository(origin.url, "main", cache=tmp_path / "cache", environ=isolated_environ(tmp_path / "home"))


def use(repository: Repository, origin: BareRepository) -> bool:
    """Everything that reads and writes, as in one run of promoter; whether it pushed."""
    tip = repository.fetch()
    assert tip.read(FILE) == origin.show(FILE)
    assert repository.at(tip.commit).commit == origin.tip()
    assert len(list(repository.history([FILE], limit=99))) == int(origin.git("rev-list", "--count", "main"))
    pushed = repository.apply(lambda found: Proposal({FILE: (found.read(FILE) or b"") + b"+"}, "Add"))
    assert pushed.tip == origin.tip()
    return pushed.commit is not None


def folder_of(tmp_path: Path) -> Path:
    (folder,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    return folder


def instead(make: Callable[[Path], object]) -> Callable[[Path], None]:
    def breaks(folder: Path) -> None:
        shutil.rmtree(folder)
        make(folder)

    return breaks


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    def breaks(folder: Path) -> None:
        file = folder / name
        if file.is_dir():
            shutil.rmtree(file)
        else:
            file.unlink(missing_ok=True)
        make(file)

    return breaks


def garbage(file: Path) -> None:
    file.write_bytes(b"\xff\xfe garbage\n")


BREAKS = {
    "garbage in shallow": replaced("shallow", garbage),
    "a folder called shallow": replaced("shallow", Path.mkdir),
    "garbage in the filters": replaced("promoter-filters", garbage),
    "no filters": replaced("promoter-filters", lambda _: None),
    "unknown filters": replaced("promoter-filters", lambda file: file.write_text("sparse:oid=x")),
    "garbage in the settings": replaced("config", garbage),
    "garbage in HEAD": replaced("HEAD", garbage),
    "garbage in the tip": replaced("refs/promoter/tip", garbage),
    "a folder in place of the tip": replaced("refs/promoter/tip", Path.mkdir),
    "garbage in packed-refs": replaced("packed-refs", garbage),
    "no objects": replaced("objects", Path.mkdir),
    "a file called objects": replaced("objects", garbage),
    "a file in its place": instead(garbage),
    "an empty folder in its place": instead(Path.mkdir),
    "a dangling link in its place": instead(lambda folder: folder.symlink_to("nowhere")),
    "a link to itself": instead(lambda folder: folder.symlink_to(folder)),
    "a pipe in its place": instead(os.mkfifo),
    "nothing at all": instead(lambda _: None),
}


@pytest.mark.parametrize("fault", BREAKS)
def test_a_broken_cache_heals(tmp_path: Path, origin: BareRepository, fault: str) -> None:
    use(opened(origin, tmp_path), origin)
    BREAKS[fault](folder_of(tmp_path))
    assert use(opened(origin, tmp_path), origin)


@pytest.mark.parametrize("fault", ["garbage in shallow", "garbage in the settings", "a file in its place", "nothing at all"])
def test_a_cache_that_breaks_during_a_run_heals(tmp_path: Path, origin: BareRepository, fault: str) -> None:
    repository = opened(origin, tmp_path)
    use(repository, origin)
    BREAKS[fault](folder_of(tmp_path))
    assert use(repository, origin)


def test_a_link_in_its_place_is_not_followed(tmp_path: Path, origin: BareRepository) -> None:
    use(opened(origin, tmp_path), origin)
    folder = folder_of(tmp_path)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    before = sorted(path.name for path in (tmp_path / "elsewhere").rglob("*"))
    use(opened(origin, tmp_path), origin)
    assert not folder.is_symlink()
    assert sorted(path.name for path in (tmp_path / "elsewhere").rglob("*")) == before


def test_what_killed_processes_left_is_removed(tmp_path: Path, origin: BareRepository) -> None:
    use(opened(origin, tmp_path), origin)
    folder = folder_of(tmp_path)
    left = [folder.with_suffix(".new"), folder.with_name(f"{folder.name}.old-abc"), folder / "objects/maintenance.lock"]
    left[0].mkdir()
    left[1].mkdir()
    for path in (left[0] / "HEAD", left[1] / "HEAD", left[2], folder / "shallow.lock"):
        path.touch()
    use(opened(origin, tmp_path), origin)
    assert [path for path in (*left, folder / "shallow.lock") if path.exists()] == []


def test_the_temporary_folder_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    """And neither one that is in use, nor one of somebody else."""
    hold = "import sys\nfrom promoter.machine.folders import temporary\nwith temporary('render') as at:\n print(at, flush=True)\n sys.stdin.read()"
    environ = {**os.environ, "TMPDIR": str(tmp_path)}

    def holder() -> tuple[subprocess.Popen[str], Path]:
        process = subprocess.Popen(
            [sys.executable, "-c", hold], env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        return process, Path(process.stdout.readline().strip())

    (killed, dead), (alive, used) = holder(), holder()
    with killed, alive:
        killed.kill()
        killed.wait()
        own = tmp_path / "promoter-render-notes"
        own.mkdir(mode=0o700)
        for folder in (dead, used, own):
            os.utime(folder, (0, 0))
        third, _ = holder()
        with third:
            assert (dead.exists(), used.exists(), own.exists()) == (False, True, True)


# -- planted ----------------------------------------------------------------------------------------------------------


def plant(folder: Path, ran: Path) -> None:
    """Settings that run a program when promoter commits, and hooks that run when it fetches."""
    program = ran.with_name("program")
    program.write_text(f"#!/bin/sh\ntouch {ran}\nexit 1\n")
    program.chmod(0o755)
    with (folder / "config").open("a") as file:
        file.write(f"[gpg]\n\tprogram = {program}\n[commit]\n\tgpgSign = true\n[core]\n\tsshCommand = {program}\n")


@pytest.mark.parametrize("mode", [0o700, 0o777])
def test_settings_planted_in_a_cache_are_not_obeyed(tmp_path: Path, origin: BareRepository, mode: int) -> None:
    """Also when the folder of all caches was open to others, which it is no longer."""
    use(opened(origin, tmp_path), origin)
    plant(folder_of(tmp_path), tmp_path / "ran")
    for path in (tmp_path / "cache", folder_of(tmp_path)):
        path.chmod(mode)
    use(opened(origin, tmp_path), origin)
    assert not (tmp_path / "ran").exists()
    assert (tmp_path / "cache").stat().st_mode & 0o777 == 0o700
    assert folder_of(tmp_path).stat().st_mode & 0o777 == 0o700


def test_all_caches_are_lost_when_others_could_write_there(tmp_path: Path, origin: BareRepository) -> None:
    use(opened(origin, tmp_path), origin)
    another = tmp_path / "cache" / ("0" * 24)
    another.mkdir()
    (tmp_path / "cache").chmod(0o770)
    use(opened(origin, tmp_path), origin)
    assert not another.exists()


def test_a_commit_is_looked_up_in_no_cache_that_was_not_checked(tmp_path: Path, origin: BareRepository) -> None:
    use(opened(origin, tmp_path), origin)
    plant(folder_of(tmp_path), tmp_path / "ran")
    assert opened(origin, tmp_path).at(origin.tip()).read(FILE) == origin.show(FILE)
    assert "gpg" not in (folder_of(tmp_path) / "config").read_text()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_cache_of_somebody_else_is_not_used(tmp_path: Path, origin: BareRepository) -> None:
    use(opened(origin, tmp_path), origin)
    plant(folder_of(tmp_path), tmp_path / "ran")
    subprocess.run(["chown", "-R", "12345", tmp_path / "cache"], check=True)
    with pytest.raises(UsageError, match="belongs to another user"):
        opened(origin, tmp_path).fetch()
    os.chown(tmp_path / "cache", 0, 0)
    use(opened(origin, tmp_path), origin)
    assert not (tmp_path / "ran").exists()


def test_a_folder_is_made_private(tmp_path: Path) -> None:
    assert not make_private(tmp_path / "a/b")
    (tmp_path / "a/b").chmod(0o775)
    assert make_private(tmp_path / "a/b")
    assert not make_private(tmp_path / "a/b")


def test_a_temporary_folder_is_gone_with_its_block() -> None:
    with temporary("render") as folder:
        assert folder.is_dir()
    assert not folder.exists()
