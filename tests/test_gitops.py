"""gitops against real Git: bare repositories on disk and over HTTP, hooks, signatures, races, killed processes."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promoter.errors import AuthError, ConfigError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.errors.redaction import visible
from promoter.gitops import HistoryLimitError, Proposal, Repository, Snapshot, default_cache, tree
from promoter.gitops.cache import Cache
from promoter.gitops.commit import Commit
from promoter.gitops.failures import GitError, Kind
from tests.support.git_server import (
    BareRepository,
    Behaviour,
    GitServer,
    bare_repository,
    git_program_recording_arguments,
    isolated_environ,
    objects_in,
)

OVERLAY = "overlays/production/kustomization.yaml"
TOKEN = "ghp_averysecrettoken0123456789"
PROJECT = Path(__file__).parents[1]


@pytest.fixture
def origin(tmp_path: Path) -> BareRepository:
    repository = bare_repository(tmp_path)
    repository.commit(
        {OVERLAY: b"newTag: v1\n", "base/deep/er/rollout.yaml": b"kind: Rollout\n", "README.md": b"hi\n"}, "First"
    )
    return repository


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path) as running:
        yield running


def open_repository(tmp_path: Path, url: str, *, environ: Mapping[str, str] | None = None, **options: Any) -> Repository:
    known = {**isolated_environ(tmp_path / "home"), **(environ or {})}
    return Repository(url, "main", cache=tmp_path / "cache", environ=known, **options)


def committed(repository: Repository, edit: Callable[[Snapshot], Proposal | None]) -> Commit:
    commit = repository.apply(edit).commit
    assert commit is not None
    return commit


def put(files: dict[str, bytes], subject: str = "Promote") -> Callable[[Snapshot], Proposal]:
    return lambda _: Proposal(files, subject)


def add_line(line: bytes) -> Callable[[Snapshot], Proposal]:
    def edit(snapshot: Snapshot) -> Proposal:
        return Proposal({OVERLAY: (snapshot.read(OVERLAY) or b"") + line}, f"Add {line.decode().strip()}")

    return edit


def cache_of(tmp_path: Path) -> Path:
    (found,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    return found


# -- reading ----------------------------------------------------------------------------------------------------------


def test_a_snapshot_reads_the_tip(tmp_path: Path, origin: BareRepository) -> None:
    snapshot = open_repository(tmp_path, origin.url).fetch()

    assert snapshot.commit == origin.tip()
    assert snapshot.read(OVERLAY) == b"newTag: v1\n"
    assert snapshot.read("overlays/none.yaml") is None
    assert snapshot.read("README.md/below-a-file") is None
    assert snapshot.read("overlays") is None
    assert snapshot.blob_id("README.md") == origin.git("rev-parse", "main:README.md")
    assert snapshot.blob_id("base") is None
    assert snapshot.export(["overlays/", "base/deep"]) == {
        OVERLAY: b"newTag: v1\n",
        "base/deep/er/rollout.yaml": b"kind: Rollout\n",
    }
    assert set(snapshot.export(["."])) == {OVERLAY, "base/deep/er/rollout.yaml", "README.md"}
    assert snapshot.export(["nowhere"]) == {}


def test_a_cache_is_thrown_away_while_a_reader_still_writes_into_it(tmp_path: Path) -> None:
    """A git that fetches a missing object for a reader does not wait for a turn."""
    cache = Cache(tmp_path, "https://git.example.com/x.git", "main", sleep=time.sleep, clock=time.monotonic)
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with suppress(FileNotFoundError):
                folder = os.open(cache.directory, os.O_RDONLY)  # git is in the folder, whatever its name is by now
                try:
                    for number in range(200):
                        os.mkdir(f"{number}", dir_fd=folder)
                finally:
                    os.close(folder)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for _ in range(300):
            with cache.lock(time.monotonic() + 60):
                cache.prepare(Path.mkdir, filters=())
                cache.discard()
    finally:
        ended.set()
        reader.join()
    with cache.lock(time.monotonic() + 60):
        cache.discard()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_a_snapshot_keeps_its_commit_when_the_branch_moves_and_the_cache_is_lost(
    tmp_path: Path, origin: BareRepository
) -> None:
    snapshot = open_repository(tmp_path, origin.url).fetch()
    origin.commit({OVERLAY: b"newTag: v2\n"})
    shutil.rmtree(cache_of(tmp_path))

    assert snapshot.read(OVERLAY) == b"newTag: v1\n"


def test_only_the_trees_and_blobs_on_the_way_are_fetched(tmp_path: Path, server: GitServer) -> None:
    origin = bare_repository(tmp_path)
    origin.commit({f"models/m{number % 40}/{number // 400}/f{number}.yaml": b"content %d\n" % number for number in range(2000)})
    origin.commit({"large.bin": os.urandom(1_000_000)})
    repository = open_repository(tmp_path, f"{server.url}/origin.git")

    def asked() -> int:
        return sum(path.endswith("upload-pack") for method, path in server.requests if method == "POST")

    snapshot = repository.fetch()
    assert objects_in(cache_of(tmp_path)) == {"commit": 1}
    assert snapshot.read("models/m7/0/f7.yaml") == b"content 7\n"
    assert objects_in(cache_of(tmp_path)) == {"commit": 1, "tree": 4, "blob": 1}
    before = asked()
    repository.apply(put({"models/m7/0/f7.yaml": b"new\n"}))
    assert objects_in(cache_of(tmp_path)) == {"commit": 2, "tree": 8, "blob": 2}
    assert origin.git("diff", "--name-only", "main~1", "main") == "models/m7/0/f7.yaml"
    assert asked() - before == 1, "only whether the branch moved"

    before = asked()
    origin.commit({"models/m9/0/f9.yaml": b"theirs\n"})
    assert repository.fetch().read("models/m7/0/f7.yaml") == b"new\n"
    assert asked() - before == 4, "whether it moved; the commit; the root and models, which differ; m7 does not"
    assert objects_in(cache_of(tmp_path)) == {"commit": 3, "tree": 10, "blob": 2}
    before = asked()
    assert len(repository.fetch().export(["models/m8", "models/m6/0"])) == 60
    assert asked() - before == 4, "whether it moved; m6; m8 and 0 with what is below them; the files"
    assert objects_in(cache_of(tmp_path))["blob"] == 62
    assert server.sent < 100_000


def test_a_server_without_filters_serves_too(tmp_path: Path) -> None:
    origin = bare_repository(tmp_path, filters=False)
    origin.commit({OVERLAY: b"newTag: v1\n"})
    repository = open_repository(tmp_path, origin.url)

    assert repository.fetch().read(OVERLAY) == b"newTag: v1\n"
    assert repository.apply(add_line(b"a\n")).tip == origin.tip()


def test_a_server_that_forbids_this_filter_serves_too(tmp_path: Path, origin: BareRepository) -> None:
    origin.git("config", "uploadpackfilter.allow", "false")
    repository = open_repository(tmp_path, origin.url)

    assert repository.fetch().read(OVERLAY) == b"newTag: v1\n"
    assert repository.apply(add_line(b"a\n")).tip == origin.tip()
    again = open_repository(tmp_path, origin.url)
    assert again.apply(add_line(b"b\n")).attempts == 1
    assert origin.show(OVERLAY) == b"newTag: v1\na\nb\n"


def test_a_server_that_filters_but_gives_no_single_blob_serves_too(tmp_path: Path, origin: BareRepository) -> None:
    repository = open_repository(
        tmp_path,
        origin.url,
        environ={"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.version", "GIT_CONFIG_VALUE_0": "0"},
    )

    assert repository.fetch().read(OVERLAY) == b"newTag: v1\n"
    assert objects_in(cache_of(tmp_path))["blob"] == 3


def test_dumb_http_is_refused_with_a_way_out(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    server.behaviour.dumb = True
    origin.git("update-server-info")

    with pytest.raises(RefusedError, match="plain files") as caught:
        open_repository(tmp_path, f"{server.url}/origin.git").fetch()
    assert "http-backend" in caught.value.hint


PAGES = {
    "on one line": b"<html>log in</html>",
    "on many lines": b"<!DOCTYPE html>\n<html>\n\t<title>Log in</title>\n</html>\n",
    "without a title": b"\n",
}


@pytest.mark.parametrize("page", PAGES)
def test_a_web_page_in_place_of_a_git_server_is_called_one(tmp_path: Path, server: GitServer, page: str) -> None:
    server.behaviour.page = PAGES[page]
    url = f"{server.url}/origin.git"
    repository = open_repository(tmp_path, url)

    for ask in (repository.fetch, repository.default_branch):
        with pytest.raises(UnreachableError) as caught:
            ask()
        assert f"{url} (branch main): what answers is a web page or a redirect, not a Git server" in caught.value.message
        assert "login page" in caught.value.hint


def test_an_empty_repository_is_called_empty_over_http(tmp_path: Path, server: GitServer) -> None:
    name = bare_repository(tmp_path, "empty.git").path.name
    repository = open_repository(tmp_path, f"{server.url}/{name}")

    for ask in (repository.fetch, repository.default_branch):
        with pytest.raises(RefusedError, match="is empty"):
            ask()


def test_a_page_that_comes_after_a_login_ran_out_is_called_one(
    tmp_path: Path, origin: BareRepository, server: GitServer
) -> None:
    """The repository was read before, and its cache is warm."""
    repository = open_repository(tmp_path, f"{server.url}/origin.git")
    repository.fetch()
    server.behaviour.page = PAGES["on one line"]
    with pytest.raises(UnreachableError, match="a web page"):
        repository.fetch()


def test_a_missing_branch_is_named_alongside_those_there_are(tmp_path: Path, origin: BareRepository) -> None:
    environ = isolated_environ(tmp_path / "home")
    repository = Repository(origin.url, "release/x", cache=tmp_path / "cache", environ=environ)

    with pytest.raises(RefusedError, match="has no branch release/x; it has main"):
        repository.fetch()


def test_the_default_branch_is_what_head_of_the_remote_is(tmp_path: Path, origin: BareRepository) -> None:
    assert open_repository(tmp_path, origin.url).default_branch() == "main"
    origin.git("branch", "trunk")
    origin.git("symbolic-ref", "HEAD", "refs/heads/trunk")
    assert open_repository(tmp_path, origin.url).default_branch() == "trunk"
    origin.git("update-ref", "--no-deref", "HEAD", "main")
    with pytest.raises(RefusedError) as caught:
        open_repository(tmp_path, origin.url).default_branch()
    assert "has no default branch" in caught.value.message
    assert "targetRevision" in caught.value.hint


def test_an_empty_repository_is_called_empty(tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="is empty: it has no branch main"):
        open_repository(tmp_path, bare_repository(tmp_path).url).fetch()


@pytest.mark.parametrize("branch", ["a..b", "-x y", "end.lock", ""])
def test_an_impossible_branch_is_refused(tmp_path: Path, origin: BareRepository, branch: str) -> None:
    with pytest.raises(UsageError, match="can't be the name of a branch"):
        Repository(origin.url, branch, cache=tmp_path / "cache", environ=isolated_environ(tmp_path / "home")).fetch()


@pytest.mark.parametrize("url", ["", "--upload-pack=evil", "https://", "https://[half/x"])
def test_an_impossible_url_is_refused(tmp_path: Path, url: str) -> None:
    with pytest.raises(UsageError, match="is not the URL"):
        open_repository(tmp_path, url)


# -- paths ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["../x", "a/../b", "/etc/passwd", "a//b", "", "a/./b", ".git/config", "a/.GIT/x", "a\nb", "a\\b"]
)
def test_a_path_outside_the_repository_is_refused(tmp_path: Path, origin: BareRepository, path: str) -> None:
    repository = open_repository(tmp_path, origin.url)
    snapshot = repository.fetch()

    with pytest.raises(ConfigError, match="not a path inside the repository"):
        snapshot.read(path)
    with pytest.raises(ConfigError, match="not a path inside the repository"):
        repository.apply(put({path: b"x"}))
    assert origin.tip() == snapshot.commit


@pytest.mark.parametrize(
    ("path", "what"),
    [("link", "symbolic link"), ("link/file", "symbolic link"), ("dir/link/x/y", "symbolic link"), ("sub/x", "submodule")],
)
def test_links_and_submodules_are_not_followed(tmp_path: Path, origin: BareRepository, path: str, what: str) -> None:
    target = {"link": b"../outside", "dir/link": b"base", "sub": origin.tip().encode()}
    before = origin.commit(target, modes={"link": "120000", "dir/link": "120000", "sub": "160000"})
    repository = open_repository(tmp_path, origin.url)

    for use in (
        lambda: repository.fetch().read(path),
        lambda: repository.apply(put({path: b"x"})),
        lambda: repository.fetch().export([path]),
    ):
        with pytest.raises(RefusedError, match=f"is a {what}, which promoter does not follow"):
            use()
    assert origin.tip() == before
    assert set(repository.fetch().export(["."])) == {OVERLAY, "base/deep/er/rollout.yaml", "README.md"}


def test_a_file_and_a_directory_do_not_replace_each_other(tmp_path: Path, origin: BareRepository) -> None:
    repository = open_repository(tmp_path, origin.url)

    with pytest.raises(RefusedError, match="overlays is a directory"):
        repository.apply(put({"overlays": b"x"}))
    with pytest.raises(RefusedError, match=r"README.md is a file"):
        repository.apply(put({"README.md/x": b"x"}))
    with pytest.raises(RefusedError, match="root is a directory"):
        repository.apply(put({".": b"x"}))


# -- writing ----------------------------------------------------------------------------------------------------------


def test_a_commit_changes_its_files_and_nothing_else(tmp_path: Path, origin: BareRepository) -> None:
    origin.commit(
        {"run.sh": b"#!/bin/sh\r\n", "-dash/é ü.txt": b"\xff\xfe", "link": b"run.sh"},
        modes={"run.sh": "100755", "link": "120000"},
    )
    before = origin.git("ls-tree", "-r", "main")
    files = {
        "run.sh": b"#!/bin/sh\r\nexit\r\n",
        "-dash/é ü.txt": b"\xff\x00\r\n",
        "neu/ä/ö/ß.yaml": b"new: true\n",
        "base/deep/er/x": b"",
    }
    pushed = open_repository(tmp_path, origin.url).apply(put(files))

    assert pushed.commit is not None
    assert (pushed.tip, pushed.attempts) == (origin.tip(), 1)
    assert pushed.commit.parents == (origin.git("rev-parse", "main~1"),)
    for path, content in files.items():
        assert origin.show(path) == content
    after = origin.git("ls-tree", "-r", "main")
    assert "100755 blob" in next(line for line in after.splitlines() if line.endswith("run.sh"))
    changed = set(after.splitlines()) ^ set(before.splitlines())
    assert len(changed) == 2 * 2 + 2
    origin.git("fsck", "--strict", "--full")


def test_nothing_to_do_makes_no_commit(tmp_path: Path, origin: BareRepository) -> None:
    repository, before = open_repository(tmp_path, origin.url), origin.tip()

    assert repository.apply(lambda _: None).commit is None
    same = repository.apply(put({OVERLAY: b"newTag: v1\n"}))
    assert (same.commit, same.tip, origin.tip()) == (None, before, before)


def test_the_author_is_the_environments_or_the_configurations_or_promoter(tmp_path: Path, origin: BareRepository) -> None:
    home = tmp_path / "home"
    assert committed(open_repository(tmp_path, origin.url), add_line(b"a\n")).author == "Ada Writer <ada@example.org>"

    anonymous = Repository(origin.url, "main", cache=tmp_path / "cache", environ=isolated_environ(home, identity=False))
    assert committed(anonymous, add_line(b"b\n")).author == "promoter <promoter@users.noreply.github.com>"

    (home / ".gitconfig").write_text("[user]\n name = Grace\n email = grace@example.org\n[log]\n showSignature = true\n")
    assert committed(anonymous, add_line(b"c\n")).author == "Grace <grace@example.org>"


def test_dates_of_the_caller_date_commits_only_where_that_is_wanted(tmp_path: Path, origin: BareRepository) -> None:
    dates = {"GIT_AUTHOR_DATE": "2001-02-03T04:05:06Z", "GIT_COMMITTER_DATE": "2001-02-03T04:05:06Z"}
    made = committed(open_repository(tmp_path, origin.url, environ=dates), add_line(b"a\n"))
    assert datetime.now(UTC) - made.when < timedelta(minutes=10)
    assert origin.git("log", "-1", "--format=%ad", "--date=format:%Y", "main").strip() != "2001"
    dated = committed(open_repository(tmp_path, origin.url, environ=dates, dated=True), add_line(b"b\n"))
    assert dated.when == datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)


def test_a_message_reads_back_as_it_was_meant(tmp_path: Path, origin: BareRepository) -> None:
    body = "Warum: größer.\n\n--- a/x\n+++ b/x\nNot-A-Trailer: x\n"
    trailers = (("Model", "fraud: détecteur"), ("Reason", "two\nlines\r\nhere"), ("Evidence", "one"), ("Evidence", "two"))
    repository = open_repository(tmp_path, origin.url)
    commit = committed(repository, lambda _: Proposal({"x": b"1"}, "Promote\nfraud", body, trailers))

    assert commit.subject == "Promote fraud"
    assert commit.trailers == {"Model": "fraud: détecteur", "Reason": "two lines here", "Evidence": "one\ntwo"}
    assert abs(commit.when - datetime.now(UTC)) < timedelta(hours=1)
    assert list(repository.history(["x"], limit=1)) == [commit]
    with pytest.raises(UsageError, match="key of a commit trailer"):
        Proposal({}, "s", trailers=(("Bad key", "x"),)).message()
    with pytest.raises(UsageError, match="needs a subject"):
        Proposal({}, " \n").message()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.text(max_size=60), value=st.text(min_size=1, max_size=30), subject=st.text(min_size=1, max_size=20))
def test_git_reads_any_trailer_back(body: str, value: str, subject: str) -> None:
    message = Proposal({}, f"x{subject}", body, (("Promotion-Id", "abc"), ("Reason", value))).message()
    read = subprocess.run(["git", "interpret-trailers", "--parse"], input=message, capture_output=True, check=True).stdout

    flat = " ".join(visible(value.replace("\r\n", "\n").replace("\0", " ")).split()).encode()
    assert [line.rstrip() for line in read.split(b"\n")][-3:-1] == [b"Promotion-Id: abc", (b"Reason: " + flat).rstrip()]


def test_a_commit_is_signed_when_the_user_signs(tmp_path: Path, origin: BareRepository) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    if tuple(map(int, origin.git("version").split()[2].split(".")[:2])) < (2, 34):
        pytest.skip("git signs with SSH keys since 2.34")
    home = tmp_path / "home"
    home.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(home / "key")], check=True)
    (home / "allowed").write_text(f"ada@example.org {(home / 'key.pub').read_text()}")
    config = f"[commit]\n gpgSign = yes\n[gpg]\n format = ssh\n[user]\n signingKey = {home}/key\n"
    (home / ".gitconfig").write_text(config)
    commit = committed(open_repository(tmp_path, origin.url), add_line(b"signed\n"))

    origin.git("-c", f"gpg.ssh.allowedSignersFile={home}/allowed", "verify-commit", commit.sha)

    (home / ".gitconfig").write_text(config.replace("/key\n", "/no-such-key\n"))
    with pytest.raises(UsageError, match="can't be signed") as caught:
        open_repository(tmp_path, origin.url).apply(add_line(b"unsigned\n"))
    assert "user.signingKey" in caught.value.hint
    assert origin.tip() == commit.sha


def test_a_commit_is_signed_with_gpg_when_git_is_configured_so(tmp_path: Path, origin: BareRepository) -> None:
    if shutil.which("gpg") is None:
        pytest.skip("gpg is not installed")
    with tempfile.TemporaryDirectory(dir="/tmp") as keys:  # its agent's socket must have a short path
        environ = {**isolated_environ(tmp_path / "home"), "GNUPGHOME": keys}
        Path(keys).chmod(0o700)
        command = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", "Ada <ada@example.org>", "ed25519"]
        subprocess.run(command, env=environ, check=True, capture_output=True)
        (tmp_path / "home/.gitconfig").write_text("[commit]\n gpgSign = true\n[user]\n signingKey = ada@example.org\n")
        try:
            commit = committed(open_repository(tmp_path, origin.url, environ={"GNUPGHOME": keys}), add_line(b"signed\n"))
            assert BareRepository(origin.path, environ).git("log", "-1", "--format=%G?", commit.sha) == "G"
        finally:
            subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=environ, check=False)


def test_a_hooks_environment_does_not_lead_elsewhere(tmp_path: Path, origin: BareRepository) -> None:
    elsewhere = {
        "GIT_DIR": str(tmp_path / "no"),
        "GIT_INDEX_FILE": "/no",
        "GIT_OBJECT_DIRECTORY": "/no",
        "GIT_WORK_TREE": "/no",
    }
    script = (
        "import os; from pathlib import Path; from promoter.gitops import *;"
        f"r = Repository({origin.url!r}, 'main', cache=Path({str(tmp_path / 'cache')!r}), environ=os.environ);"
        "print(r.apply(lambda s: Proposal({'x': b'1'}, 's')).tip)"
    )
    environ = {**isolated_environ(tmp_path / "home"), **elsewhere}
    run = subprocess.run([sys.executable, "-c", script], env=environ, cwd=PROJECT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == origin.tip()


# -- races ------------------------------------------------------------------------------------------------------------


def test_a_lost_race_applies_the_edit_to_the_new_tip(tmp_path: Path, origin: BareRepository) -> None:
    seen = []

    def edit(snapshot: Snapshot) -> Proposal:
        seen.append(snapshot.commit)
        if len(seen) <= 3:
            origin.commit({OVERLAY: (snapshot.read(OVERLAY) or b"") + b"theirs %d\n" % len(seen)})
        return Proposal({OVERLAY: (snapshot.read(OVERLAY) or b"") + b"ours\n"}, "Ours")

    pushed = open_repository(tmp_path, origin.url).apply(edit)

    assert pushed.attempts == 4
    assert len(set(seen)) == 4
    assert origin.show(OVERLAY) == b"newTag: v1\ntheirs 1\ntheirs 2\ntheirs 3\nours\n"
    assert origin.git("rev-list", "--count", "main") == "5"


def test_a_branch_reset_between_fetch_and_push_is_not_put_back(tmp_path: Path, origin: BareRepository) -> None:
    first = origin.tip()
    origin.commit({OVERLAY: b"newTag: withdrawn\n"})
    calls = itertools.count()

    def edit(snapshot: Snapshot) -> Proposal:
        if next(calls) == 0:
            origin.git("update-ref", "refs/heads/main", first)
        return Proposal({"x": b"1"}, "Ours")

    commit = committed(open_repository(tmp_path, origin.url), edit)
    assert commit.parents == (first,)
    assert origin.show(OVERLAY) == b"newTag: v1\n"


def test_an_edit_may_give_up_on_the_new_tip(tmp_path: Path, origin: BareRepository) -> None:
    def edit(snapshot: Snapshot) -> Proposal:
        if snapshot.read(OVERLAY) != b"newTag: v1\n":
            raise RefusedError("superseded")
        origin.commit({OVERLAY: b"newTag: v2\n"})
        return Proposal({OVERLAY: b"newTag: v3\n"}, "Ours")

    with pytest.raises(RefusedError, match="superseded"):
        open_repository(tmp_path, origin.url).apply(edit)
    assert origin.show(OVERLAY) == b"newTag: v2\n"


def test_races_lost_until_the_end_are_reported(tmp_path: Path, origin: BareRepository) -> None:
    now = itertools.count()

    def edit(snapshot: Snapshot) -> Proposal:
        origin.commit({"theirs": snapshot.commit.encode()})
        return Proposal({"ours": b"1"}, "Ours")

    repository = open_repository(tmp_path, origin.url, patience=4, sleep=lambda _: None, clock=lambda: float(next(now)))
    with pytest.raises(UnreachableError, match="other writers were faster each time"):
        repository.apply(edit)


WRITER = """
import os, sys
from pathlib import Path
from promoter.gitops import Proposal, Repository
url, cache, line = sys.argv[1:]
path = "overlays/production/kustomization.yaml"
def edit(snapshot):
    lines = snapshot.read(path).splitlines(keepends=True)
    return None if line.encode() + b"\\n" in lines else Proposal({path: b"".join([*lines, line.encode() + b"\\n"])}, line)
print(Repository(url, "main", cache=Path(cache), environ=os.environ).apply(edit).attempts)
"""


def start_writer(tmp_path: Path, url: str, cache: Path, line: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(cache), line],
        env=isolated_environ(tmp_path / "home"),
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize("shared_cache", [True, False], ids=["one machine", "several machines"])
def test_of_many_writers_none_is_lost(tmp_path: Path, origin: BareRepository, shared_cache: bool) -> None:
    count = 16 if shared_cache else 5
    writers = [
        start_writer(tmp_path, origin.url, tmp_path / ("cache" if shared_cache else f"cache{number}"), f"line {number}")
        for number in range(count)
    ]
    outputs = [writer.communicate() for writer in writers]

    assert [writer.returncode for writer in writers] == [0] * count, outputs
    assert sorted(origin.show(OVERLAY).decode().splitlines()) == sorted(["newTag: v1", *(f"line {n}" for n in range(count))])
    assert origin.git("rev-list", "--count", "main") == str(count + 1)
    if shared_cache:
        assert {out.strip() for out, _ in outputs} == {b"1"}, "taking turns, nobody loses a race"
    origin.git("fsck", "--strict")


def test_waiting_for_another_process_has_an_end(tmp_path: Path, origin: BareRepository) -> None:
    holder, waiter = open_repository(tmp_path, origin.url), open_repository(tmp_path, origin.url, patience=0.05)

    def edit(_: Snapshot) -> None:
        with pytest.raises(UnreachableError, match="another promoter on this machine"):
            waiter.fetch()

    assert holder.apply(edit).commit is None
    assert waiter.fetch().commit == origin.tip()


# -- killed and broken ------------------------------------------------------------------------------------------------


def test_a_killed_writer_leaves_nothing_that_a_person_must_remove(tmp_path: Path, origin: BareRepository) -> None:
    cache = tmp_path / "cache"
    for number in range(8):
        writer = start_writer(tmp_path, origin.url, cache, "killed often")
        with suppress(subprocess.TimeoutExpired):
            writer.wait(0.12 + 0.06 * number)
        writer.kill()
        writer.communicate()
    last = start_writer(tmp_path, origin.url, cache, "killed often")

    assert (last.communicate(), last.returncode)[1] == 0
    assert origin.show(OVERLAY) == b"newTag: v1\nkilled often\n"
    origin.git("fsck", "--strict")


@pytest.mark.parametrize("name", ["shallow.lock", "config.lock", "refs/promoter/tip.lock", "packed-refs.lock", "HEAD.lock"])
def test_a_stale_lock_file_is_recovered(tmp_path: Path, origin: BareRepository, name: str) -> None:
    now = itertools.count()
    repository = open_repository(tmp_path, origin.url, sleep=lambda _: None, clock=lambda: float(next(now)))
    repository.fetch()
    lock = cache_of(tmp_path) / name
    lock.touch()
    origin.commit({OVERLAY: b"newTag: v2\n"})

    assert repository.apply(add_line(b"ours\n")).tip == origin.tip()
    assert not lock.exists()


def damage_packs(cache: Path) -> None:
    for pack in (cache / "objects/pack").glob("*.pack"):
        pack.chmod(0o600)
        pack.write_bytes(pack.read_bytes()[:40])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "packs truncated": damage_packs,
    "objects gone": lambda cache: shutil.rmtree(cache / "objects"),
    "no HEAD": lambda cache: (cache / "HEAD").unlink(),
    "config is rubbish": lambda cache: (cache / "config").write_text("[core\n"),
    "shallow lost": lambda cache: (cache / "shallow").unlink(missing_ok=True),
    "tip is rubbish": lambda cache: (cache / "refs/promoter/tip").write_text("rubbish\n"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_broken_cache_is_made_again(tmp_path: Path, origin: BareRepository, damage: Callable[[Path], object]) -> None:
    origin.commit({"second": b"2\n"})
    repository = open_repository(tmp_path, origin.url)
    snapshot = repository.fetch()
    damage(cache_of(tmp_path))
    assert snapshot.read(OVERLAY) == b"newTag: v1\n"
    damage(cache_of(tmp_path))
    origin.commit({"third": b"3\n"})

    pushed = repository.apply(add_line(b"ours\n"))
    assert (pushed.tip, origin.show(OVERLAY)) == (origin.tip(), b"newTag: v1\nours\n")
    assert [commit.sha for commit in repository.history([OVERLAY], limit=1)] == [pushed.tip]


def test_a_worn_cache_is_made_again(tmp_path: Path, origin: BareRepository) -> None:
    """What was kept in it stays: it was found by means of what wore the cache out."""
    repository = open_repository(tmp_path, origin.url)
    repository.fetch()
    repository.keep("index", b"found")
    old = cache_of(tmp_path)
    (old / "mark").touch()
    repository.fetch()
    assert (old / "mark").exists()
    for number in range(401):
        (old / "objects/pack" / f"tmp_pack_{number}").touch()
    repository.fetch()
    assert not (old / "mark").exists()
    assert repository.kept("index") == b"found"
    (old / "mark").touch()
    os.utime(old.with_suffix(".turn"), (time.time() - 8 * 86400,) * 2)
    repository.fetch()
    assert not (old / "mark").exists()


def test_a_cache_that_cannot_be_written_reports_it(tmp_path: Path, origin: BareRepository) -> None:
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(UsageError, match=r"cache .* can't be written") as caught:
        open_repository(tmp_path, origin.url).fetch()
    assert "XDG_CACHE_HOME" in caught.value.hint


def test_no_git_and_an_old_git_are_distinguished_from_trouble(tmp_path: Path, origin: BareRepository) -> None:
    (tmp_path / "bin").mkdir()
    with pytest.raises(UsageError, match="git can't be found"):
        open_repository(tmp_path, origin.url, environ={"PATH": str(tmp_path / "bin")}).fetch()
    for version in ("2.17.1", "2.30.9"):
        (tmp_path / "bin/git").write_text(f"#!/bin/sh\necho git version {version}\n")
        (tmp_path / "bin/git").chmod(0o755)
        with pytest.raises(UsageError, match=f"{version} is too old") as caught:
            open_repository(tmp_path, origin.url, environ={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"}).fetch()
        assert "install git 2.31 or newer" in caught.value.hint


# -- a server that refuses, or does not answer --------------------------------------------------------------------------------


def test_a_push_whose_answer_was_lost_is_not_done_twice(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    server.behaviour.cut_pushes = 1
    repository = open_repository(tmp_path, f"{server.url}/origin.git", sleep=lambda _: None)
    pushed = repository.apply(add_line(b"once\n"))

    assert origin.show(OVERLAY) == b"newTag: v1\nonce\n"
    assert origin.git("rev-list", "--count", "main") == "2"
    assert pushed.commit is not None
    assert pushed.commit.sha == pushed.tip == origin.tip()


def test_a_lost_answer_is_recognised_below_somebody_elses_commit(
    tmp_path: Path, origin: BareRepository, server: GitServer
) -> None:
    server.behaviour.cut_pushes = 1

    def meanwhile(_: float) -> None:
        origin.commit({"theirs": b"1"})

    repository = open_repository(tmp_path, f"{server.url}/origin.git", sleep=meanwhile)
    pushed = repository.apply(put({"ours": b"1"}))

    assert pushed.tip == origin.tip()
    assert pushed.commit is not None
    assert pushed.commit.sha == origin.git("rev-parse", "main~1")
    assert origin.git("rev-list", "--count", "main") == "3"


def test_a_lost_answer_is_recognised_without_the_cache(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    origin.hook("post-receive", f'rm -rf "{tmp_path}"/cache/*/objects')
    server.behaviour.cut_pushes = 1
    pushed = open_repository(tmp_path, f"{server.url}/origin.git", sleep=lambda _: None).apply(add_line(b"once\n"))

    assert origin.show(OVERLAY) == b"newTag: v1\nonce\n"
    assert pushed.commit is not None
    assert pushed.commit.sha == pushed.tip == origin.tip()


def test_what_the_server_got_and_did_not_take_has_not_landed(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    """The push loses the race on the server, which keeps its objects; and the cache is gone that would know better."""
    begun = origin.tip()
    theirs = origin.commit({"theirs": b"1"})
    origin.git("update-ref", "refs/heads/main", begun)
    faster = f"git update-ref refs/heads/main {theirs}"
    origin.hook("update", f'mkdir "{tmp_path}/once" 2>/dev/null && {faster} && rm -rf "{tmp_path}"/cache/*/objects; exit 0')
    pushed = open_repository(tmp_path, f"{server.url}/origin.git", sleep=lambda _: None).apply(add_line(b"once\n"))

    assert (tmp_path / "once").is_dir()
    assert pushed.commit is not None
    assert pushed.commit.sha == pushed.tip == origin.tip()
    assert origin.git("rev-parse", "main~1") == theirs
    assert origin.show(OVERLAY) == b"newTag: v1\nonce\n"


def test_a_rule_of_the_server_is_not_tried_again(tmp_path: Path, origin: BareRepository) -> None:
    origin.hook("pre-receive", f'echo x >> "{tmp_path}/pushes"; echo "GH006: Protected branch update failed" >&2; exit 1')

    with pytest.raises(RefusedError, match="GH006: Protected branch update failed") as caught:
        open_repository(tmp_path, origin.url).apply(add_line(b"ours\n"))
    assert "write: pull-request" in caught.value.hint
    assert (tmp_path / "pushes").read_text() == "x\n"


def test_an_outage_is_waited_for_and_then_reported(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    url = f"{server.url}/origin.git"
    waits: list[float] = []
    server.behaviour.fail = {"service=git-upload-pack": [503, 502]}
    repository = open_repository(tmp_path, url, sleep=waits.append)
    assert repository.fetch().commit == origin.tip()
    assert len(waits) == 2

    server.behaviour.fail = {"service=git-upload-pack": [503] * 9}
    with pytest.raises(UnreachableError, match="503"):
        repository.fetch()
    assert len(waits) == 6


def test_nobody_listening_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="can't be reached") as caught:
        open_repository(tmp_path, "http://127.0.0.1:9/origin.git", sleep=lambda _: None).fetch()
    assert caught.value.hint


def test_a_repository_that_is_not_there_is_named(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    for url in (f"{server.url}/other.git", (tmp_path / "other.git").as_uri()):
        with pytest.raises(AuthError, match=r"other.git .*does not exist, or this identity may not read it"):
            open_repository(tmp_path, url).fetch()


# -- credentials ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["environment", "url"])
def test_a_token_is_used_and_seen_nowhere(tmp_path: Path, origin: BareRepository, server: GitServer, where: str) -> None:
    record = tmp_path / "arguments"
    git_program_recording_arguments(tmp_path / "bin", record)
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    server.behaviour.username, server.behaviour.password = "x-access-token", TOKEN
    if where == "environment":
        url, environ = f"{server.url}/origin.git", {**path, "PROMOTER_GIT_TOKEN": TOKEN, "PROMOTER_GIT_HOSTS": server.netloc}
    else:
        url, environ = f"http://x-access-token:{TOKEN}@{server.netloc}/origin.git", path
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text("[credential]\n helper = store\n")
    repository = open_repository(tmp_path, url, environ=environ)
    repository.apply(add_line(b"ours\n"))
    origin.hook("pre-receive", f"echo 'you are {TOKEN}'; exit 1")
    with pytest.raises(RefusedError) as caught:
        repository.apply(add_line(b"more\n"))

    assert origin.show(OVERLAY) == b"newTag: v1\nours\n"
    assert TOKEN not in f"{caught.value} {caught.value.hint} {caught.value!r}"
    assert "push" in record.read_text()
    assert TOKEN not in record.read_text()
    for file in [*(tmp_path / "cache").rglob("*"), *(tmp_path / "home").rglob("*")]:
        assert not file.is_file() or TOKEN.encode() not in file.read_bytes(), file


def test_a_wrong_and_a_missing_token_are_not_tried_again(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    server.behaviour.password = TOKEN
    wrong = {"PROMOTER_GIT_TOKEN": "ghp_awrongtoken9876543210", "PROMOTER_GIT_HOSTS": server.netloc}
    for environ in ({}, wrong, {"GIT_ASKPASS": "/bin/echo"}):
        with pytest.raises(AuthError) as caught:
            open_repository(tmp_path, f"{server.url}/origin.git", environ=environ).fetch()
        assert "PROMOTER_GIT_TOKEN" in caught.value.hint
        assert "awrongtoken" not in str(caught.value)


def test_a_token_does_not_follow_a_redirect_to_another_host(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    server.behaviour.password = TOKEN
    with GitServer(tmp_path, Behaviour(redirect_to=server.url)) as first:
        environ = {"PROMOTER_GIT_TOKEN": TOKEN, "PROMOTER_GIT_HOSTS": first.netloc}
        repository = open_repository(tmp_path, f"{first.url}/origin.git", environ=environ)
        with pytest.raises(AuthError):
            repository.fetch()
    assert server.requests
    assert server.authorizations == []


def test_the_users_own_credential_helper_is_asked(tmp_path: Path, origin: BareRepository, server: GitServer) -> None:
    server.behaviour.username, server.behaviour.password = "org", TOKEN
    (tmp_path / "home").mkdir()
    (tmp_path / "home/.gitconfig").write_text(f'[credential]\n helper = "!f() {{ echo password={TOKEN}; }}; f"\n')

    repository = open_repository(tmp_path, f"http://org@{server.netloc}/origin.git")
    assert repository.apply(add_line(b"ours\n")).tip == origin.tip()


@pytest.mark.parametrize("configured", [False, True])
def test_ssh_never_asks_a_person_also_with_a_command_of_the_users(
    tmp_path: Path, origin: BareRepository, configured: bool
) -> None:
    for name in ("ssh", "my-ssh"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >> "{tmp_path}/calls"\nfor command; do :; done\nexec sh -c "$command"\n'
        )
        program.chmod(0o755)
    (tmp_path / "home").mkdir()
    if configured:
        (tmp_path / "home/.gitconfig").write_text("[core]\n sshCommand = my-ssh\n[ssh]\n variant = ssh\n")
    repository = open_repository(
        tmp_path, f"git@git.invalid:{origin.path}", environ={"PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    )

    assert repository.apply(add_line(b"ours\n")).tip == origin.tip()
    calls = (tmp_path / "calls").read_text().splitlines()
    expected = "my-ssh -o BatchMode=yes " if configured else "ssh -o BatchMode=yes "
    assert all(call.startswith(expected) and "git@git.invalid" in call for call in calls), calls


def test_push_url_is_the_address_that_is_used(tmp_path: Path, origin: BareRepository) -> None:
    repository = open_repository(tmp_path, "https://git.invalid/for-argo-cd.git", push_url=origin.url)
    assert repository.apply(add_line(b"ours\n")).tip == origin.tip()


# -- history ----------------------------------------------------------------------------------------------------------


def grow(origin: BareRepository, count: int, path: str = "other") -> None:
    stream = [
        b"commit refs/heads/main\ncommitter Bob <b@example.org> %d +0000\ndata 2\nx\n\n" % (1_700_000_000 + n)
        for n in range(count)
    ]
    body = [b"M 100644 inline %s\ndata %d\n%d\n" % (path.encode(), len(str(n)), n) for n in range(count)]
    first = f"from {origin.tip()}\n".encode()
    lines = [head + (first if n == 0 else b"") + change for n, (head, change) in enumerate(zip(stream, body, strict=True))]
    origin.git("fast-import", "--quiet", stdin=b"".join(lines))


def test_history_is_fetched_as_far_as_it_is_read(tmp_path: Path, origin: BareRepository) -> None:
    first = origin.tip()
    grow(origin, 300)
    second = origin.commit({OVERLAY: b"newTag: v2\n"}, "Promote\n\nModel: fraud\nModel-Version: 2\n")
    grow(origin, 20)
    repository = open_repository(tmp_path, origin.url)
    commits = repository.history(["overlays/production"], limit=5)
    newest = next(commits)
    assert (newest.sha, newest.trailers) == (second, {"Model": "fraud", "Model-Version": "2"})
    assert (cache_of(tmp_path) / "shallow").exists()
    assert [commit.sha for commit in commits] == [first]
    assert repository.at(first).read(OVERLAY) == b"newTag: v1\n"
    assert [commit.sha for commit in repository.history([OVERLAY], limit=5, start=first)] == [first]


def test_history_of_a_young_path_does_not_fetch_what_is_older(tmp_path: Path, origin: BareRepository) -> None:
    grow(origin, 200)
    young = origin.commit({"overlays/staging/release.yaml": b"x\n"})
    grow(origin, 3)
    repository = open_repository(tmp_path, origin.url)

    assert [commit.sha for commit in repository.history(["overlays/staging"], limit=9)] == [young]
    assert (
        int(
            subprocess.run(
                ["git", "--git-dir", str(cache_of(tmp_path)), "rev-list", "--count", "refs/promoter/tip"],
                capture_output=True,
                check=True,
            ).stdout
        )
        < 100
    )
    assert list(repository.history(["never/there"], limit=9)) == []


def test_the_limit_of_history_is_an_error_only_for_who_reads_that_far(tmp_path: Path, origin: BareRepository) -> None:
    first = origin.tip()
    grow(origin, 120)
    second = origin.commit({OVERLAY: b"newTag: v2\n"})
    repository = open_repository(tmp_path, origin.url, history_limit=50)

    commits = repository.history([OVERLAY], limit=2)
    assert next(commits).sha == second
    with pytest.raises(HistoryLimitError, match=r"origin.git: the newest 50 commits") as caught:
        next(commits)
    assert "git.history-limit" in caught.value.hint
    with pytest.raises(HistoryLimitError):
        repository.is_ancestor(first, second)


def test_a_release_below_twelve_thousand_commits_of_others_is_found(tmp_path: Path, origin: BareRepository) -> None:
    released = origin.commit({OVERLAY: b"newTag: v2\n"})
    stream = []
    for number in range(12_000):
        start = f"from {released}\n" if number == 0 else ""
        stream.append(
            f"commit refs/heads/main\ncommitter Other <o@example.org> {1_780_000_000 + number} +0000\ndata 1\nx\n{start}"
        )
        stream.append(f"M 100644 inline apps/a{number % 40}/f\ndata {len(str(number))}\n{number}\n")
    origin.git("fast-import", "--quiet", "--force", stdin="".join(stream).encode())
    repository = open_repository(tmp_path, origin.url)

    assert next(repository.history([OVERLAY], limit=1)).sha == released
    assert repository.is_ancestor(released, origin.tip())


def test_ancestry_is_found_out_however_shallow_the_cache_is(tmp_path: Path, origin: BareRepository) -> None:
    first = origin.tip()
    grow(origin, 150)
    middle = origin.tip()
    grow(origin, 10)
    tip = origin.tip()
    tree = origin.git("rev-parse", "main^{tree}")
    aside = origin.git("commit-tree", tree, "-p", middle, "-m", "aside")
    origin.git("update-ref", "refs/heads/aside", aside)

    def fresh(name: str) -> Repository:
        return open_repository(tmp_path / name, origin.url)

    assert fresh("a").is_ancestor(tip, tip)
    assert fresh("b").is_ancestor(first, tip)
    assert fresh("c").is_ancestor(first, middle)
    assert not fresh("d").is_ancestor(tip, middle)
    assert not fresh("e").is_ancestor(aside, tip)
    assert fresh("f").is_ancestor(middle, aside)
    assert not fresh("g").is_ancestor(tip, "0" * 40)
    assert not fresh("h").is_ancestor("0" * 40, tip)
    assert not fresh("i").is_ancestor("main", tip)
    whole = fresh("j")
    assert whole.at(aside).read(OVERLAY) == b"newTag: v1\n"
    assert whole.is_ancestor(first, tip)
    assert not whole.is_ancestor(aside, tip)


def test_a_commit_the_remote_does_not_have_is_named(tmp_path: Path, origin: BareRepository) -> None:
    repository = open_repository(tmp_path, origin.url)
    with pytest.raises(RefusedError, match="has no commit 1234567890"):
        repository.at("1234567890" * 4).read(OVERLAY)
    with pytest.raises(RefusedError, match="has no commit --evil"):
        repository.at("--evil")


# -- values -----------------------------------------------------------------------------------------------------------


def test_the_cache_is_where_the_user_keeps_caches(tmp_path: Path) -> None:
    assert default_cache({"XDG_CACHE_HOME": "/x", "HOME": "/h"}) == Path("/x/promoter/git")
    assert default_cache({"XDG_CACHE_HOME": "not/absolute", "HOME": "/h"}) == Path("/h/.cache/promoter/git")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("! [rejected] abc -> main (stale info)", Kind.RACE),
        ("! [rejected] abc -> main (fetch first)", Kind.RACE),
        ("! [rejected] abc -> main (non-fast-forward)", Kind.RACE),
        ("! [remote rejected] abc -> main (failed to update ref)", Kind.RACE),
        ("! [remote rejected] abc -> main (cannot lock ref 'refs/heads/main': is at a but expected b)", Kind.RACE),
        ("! [remote rejected] abc -> main (incorrect old value provided)", Kind.RACE),
        ("! [remote rejected] abc -> main (TF401028: The reference has already been updated by another client)", Kind.RACE),
        ("remote: error: GH006: Protected branch update failed for refs/heads/main.", Kind.POLICY),
        ("remote: error: GH013: Repository rule violations found for refs/heads/main.", Kind.POLICY),
        ("! [remote rejected] abc -> main (TF402455: Pushes to this branch are not permitted)", Kind.POLICY),
        ("! [remote rejected] abc -> main (TF401027: You need the Git 'GenericContribute' permission)", Kind.AUTH),
        ("remote: GL-HOOK-ERR: no", Kind.POLICY),
        ("! [remote rejected] abc -> main (pre-receive hook declined)", Kind.POLICY),
        ("! [remote rejected] abc -> main (branch is currently checked out)", Kind.POLICY),
        ("fatal: could not read Username for 'https://github.com': terminal prompts disabled", Kind.AUTH),
        ("fatal: unable to access 'https://github.com/a/b/': The requested URL returned error: 403", Kind.AUTH),
        ("git@github.com: Permission denied (publickey).\nfatal: Could not read from remote repository.", Kind.AUTH),
        ("Host key verification failed.\nfatal: Could not read from remote repository.", Kind.AUTH),
        ("fatal: unable to access 'https://x/': Could not resolve host: x", Kind.UNREACHABLE),
        ("fatal: unable to access 'https://x/': Failed to connect to x port 443: Connection refused", Kind.UNREACHABLE),
        ("error: RPC failed; HTTP 502 curl 22 The requested URL returned error: 502", Kind.UNREACHABLE),
        (
            "ssh: connect to host x port 22: Connection timed out\nfatal: Could not read from remote repository.",
            Kind.UNREACHABLE,
        ),
        ("fatal: unable to access 'https://x/': SSL certificate problem: self-signed certificate", Kind.CERTIFICATE),
        ("fatal: bad object 0123", Kind.CACHE),
        ("", Kind.CACHE),
    ],
)
def test_what_git_reports_decides_who_has_to_act(said: str, kind: Kind) -> None:
    error = GitError("push", 1, "", said)
    assert error.kind is kind
    assert isinstance(error, PromoterError)
    assert error.line


def climbing(origin: BareRepository, name: str) -> str:
    """A commit whose tree `overlays/production` has one more entry of this name, as no git would make it; the tip of main."""

    def git(*words: str, data: bytes = b"") -> bytes:
        return subprocess.run(["git", "-C", str(origin.path), *words], input=data, capture_output=True, check=True).stdout

    def with_entry(tree: str, parts: list[str]) -> str:
        raw, entries = git("cat-file", "tree", tree), {}
        while raw:
            head, _, rest = raw.partition(b"\0")
            mode, _, entry = head.partition(b" ")
            entries[entry], raw = (mode, rest[:20]), rest[20:]
        if parts:
            mode, id = entries[parts[0].encode()]
            entries[parts[0].encode()] = mode, bytes.fromhex(with_entry(id.hex(), parts[1:]))
        else:
            blob = git("hash-object", "-w", "--stdin", data=b"climbed\n").decode().strip()
            entries[name.encode()] = b"100644", bytes.fromhex(blob)
        body = b"".join(mode + b" " + entry + b"\0" + id for entry, (mode, id) in sorted(entries.items()))
        return git("hash-object", "-w", "-t", "tree", "--literally", "--stdin", data=body).decode().strip()

    root = with_entry(git("rev-parse", "main^{tree}").decode().strip(), OVERLAY.split("/")[:-1])
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    commit = git(*who, "commit-tree", root, "-p", "main", "-m", "Tidy").decode().strip()
    git("update-ref", "refs/heads/main", commit)
    return commit


@pytest.mark.parametrize("name", ["..", "../../../../out", ".git", ".GIT", ".g\u200cit", "git~1", ".git. ", "a/../b"])
def test_a_tree_that_climbs_is_refused(tmp_path: Path, origin: BareRepository, name: str) -> None:
    """A server need not check objects: a name like this became a path outside of the folder that is rendered."""
    climbing(origin, name)
    repository = open_repository(tmp_path, origin.url)
    reads: list[Callable[[Snapshot], object]] = [
        lambda tip: tip.read(OVERLAY),
        lambda tip: tip.export(["overlays"]),
        lambda tip: tip.export(["."]),
    ]
    for read in reads:
        with pytest.raises(RefusedError, match="which no checkout may have"):
            read(repository.fetch())


def test_git_alone_on_the_path_is_enough(tmp_path: Path, origin: BareRepository) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").symlink_to(str(shutil.which("git")))
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom promoter.gitops import Repository\n"
        "print(Repository(sys.argv[1], 'main', cache=Path(sys.argv[2]), environ=dict(os.environ)).fetch().commit)"
    )
    environ = {"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path), "LEFT": "over"}
    command = [sys.executable, "-c", program, origin.url, str(tmp_path / "cache")]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, origin.tip()), done.stderr


@pytest.mark.parametrize(
    ("link", "target", "outside"),
    [
        ("a/b", "../c", False),
        ("a/b", "..", False),
        ("a/b", "../..", True),
        ("a/b", "../../c", True),
        ("b", "../c", True),
        ("b", "/etc", True),
        ("a/b", "c/../../d", False),
        ("a/b", "../.git/config", True),
    ],
)
def test_where_a_link_leads(link: str, target: str, outside: bool) -> None:
    assert tree.leads_outside(link, target) is outside
