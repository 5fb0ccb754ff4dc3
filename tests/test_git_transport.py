"""gitops over what companies put between: SSH, TLS with an authority of their own, proxies, tokens, servers that can do less."""

from __future__ import annotations

import os
import pty
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from promoter.errors import AuthError, UnreachableError, UsageError
from promoter.errors.redaction import redact
from promoter.gitops import Proposal, Repository, Snapshot
from promoter.gitops.credentials import access, local, ssh_settings
from promoter.gitops.process import Limits
from promoter.machine.process import INTERACTIVE
from tests.support.git_server import (
    BareRepository,
    Behaviour,
    GitServer,
    bare_repository,
    isolated_environ,
    objects_in,
    throw_away_certificate,
)
from tests.support.processes import has_ended
from tests.support.relay import relaying
from tests.support.ssh_server import SshServer, ssh_server

OVERLAY = "overlays/production/kustomization.yaml"
TOKEN = "a-secret-token-0123456789"


@pytest.fixture
def origin(tmp_path: Path) -> BareRepository:
    repository = bare_repository(tmp_path)
    repository.commit({OVERLAY: b"newTag: v1\n", "base/rollout.yaml": b"kind: Rollout\n"}, "First")
    return repository


def add_line(snapshot: Snapshot) -> Proposal:
    return Proposal({OVERLAY: (snapshot.read(OVERLAY) or b"") + b"ours\n"}, "Promote")


def promoted(tmp_path: Path, origin: BareRepository, url: str, **environ: str) -> Counter[str]:
    """Promotes once, looks back, and gives the objects that it took."""
    first = origin.tip()
    cache = tmp_path / "cache"
    repository = Repository(
        url, "main", cache=cache, environ=isolated_environ(tmp_path / "home") | environ, sleep=lambda _: None
    )
    pushed = repository.apply(add_line)
    assert pushed.tip == origin.tip() != first
    assert origin.show(OVERLAY) == b"newTag: v1\nours\n"
    assert repository.is_ancestor(first, pushed.tip)
    assert [commit.sha for commit in repository.history([OVERLAY], limit=9)] == [pushed.tip, first]
    (directory,) = (path for path in cache.iterdir() if path.is_dir())
    return objects_in(directory)


# -- SSH --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshServer]:
    with ssh_server(tmp_path_factory.mktemp("sshd") / "keys") as server:
        yield server


def test_ssh(tmp_path: Path, origin: BareRepository, ssh: SshServer) -> None:
    objects = promoted(tmp_path, origin, ssh.url(origin.path), GIT_SSH_COMMAND=ssh.command)
    assert objects == {"commit": 2, "tree": 6, "blob": 2}


def test_a_server_of_protocol_0_gives_no_single_object_and_serves_too(tmp_path: Path, origin: BareRepository) -> None:
    with ssh_server(tmp_path / "keys", more="") as old:
        objects = promoted(tmp_path, origin, old.url(origin.path), GIT_SSH_COMMAND=old.command)
    assert objects["blob"] == 3, "all files of the newest commit"


def test_ssh_keys_and_hosts_that_are_not_known(tmp_path: Path, origin: BareRepository, ssh: SshServer) -> None:
    shutil.copy(ssh.folder / "host", tmp_path / "another-key")
    for command in (
        ssh.command.replace(f"UserKnownHostsFile={ssh.folder}/known", "UserKnownHostsFile=/dev/null"),
        ssh.command.replace(f"-i {ssh.folder}/user", f"-i {tmp_path}/another-key"),
    ):
        with pytest.raises(AuthError, match=r"Host key verification failed|Permission denied"):
            promoted(tmp_path, origin, ssh.url(origin.path), GIT_SSH_COMMAND=command)


@pytest.mark.parametrize("where", ["GIT_SSH_COMMAND", "core.sshCommand", "GIT_SSH"])
def test_an_ssh_command_of_the_users_never_asks(tmp_path: Path, where: str) -> None:
    """A program called ssh that records its arguments."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\nexit 255\n')
    program.chmod(0o755)
    environ = isolated_environ(tmp_path / "home") | ({where: str(program)} if where != "core.sshCommand" else {})
    if where == "core.sshCommand":
        (tmp_path / "home/.gitconfig").write_text(f"[core]\n sshCommand = {program} -4\n")
    with pytest.raises(UnreachableError):
        Repository("git@example.org:a/b", "main", cache=tmp_path / "cache", environ=environ, sleep=lambda _: None).fetch()
    assert all("BatchMode=yes" in line for line in (tmp_path / "asked").read_text().splitlines())


_FETCH = """
import os, sys
from pathlib import Path
from promoter.gitops import Repository
print("tip", Repository(sys.argv[1], "main", cache=Path(sys.argv[2]), environ=os.environ).fetch().commit)
"""


def at_a_terminal(command: list[str], environ: dict[str, str], answers: list[tuple[str, str]]) -> str:
    """What the command writes to a terminal of its own, where each question gets its answer."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(command[0], command, environ)
    written = ""
    try:
        while more := os.read(terminal, 4096).decode(errors="replace"):
            written += more
            if answers and answers[0][0] in written:
                os.write(terminal, f"{answers.pop(0)[1]}\n".encode())
    except OSError:
        pass  # Linux reports the end so
    finally:
        os.close(terminal)
        os.waitpid(child, 0)
    return written


@pytest.mark.parametrize("interactive", [True, False])
def test_a_person_is_asked_only_where_that_is_wanted(tmp_path: Path, origin: BareRepository, interactive: bool) -> None:
    environ = isolated_environ(tmp_path / "home") | {"PYTHONPATH": os.pathsep.join(sys.path)}
    environ |= {INTERACTIVE: "1"} if interactive else {}
    with GitServer(tmp_path, Behaviour(username="ada", password=TOKEN)) as server:
        command = [sys.executable, "-c", _FETCH, f"{server.url}/{origin.path.name}", str(tmp_path / "cache")]
        questions = [("Username for", "ada"), ("Password for", TOKEN)] * 3
        shown = at_a_terminal(command, environ, questions)
    assert (f"tip {origin.tip()}" in shown) is interactive
    assert ("terminal prompts disabled" in shown) is not interactive


@pytest.mark.parametrize(("variable", "command"), [("", "ssh -o "), ("GIT_SSH_COMMAND", "ssh -4")])
def test_ssh_may_ask_where_a_person_is_asked(variable: str, command: str) -> None:
    environ = {variable: command} if variable else {}
    may, must_not = (ssh_settings(local({**environ, INTERACTIVE: text}), {})["GIT_SSH_COMMAND"] for text in ("1", ""))
    assert may.startswith(command)
    assert must_not.startswith(command)
    assert ("BatchMode" in may, "BatchMode=yes" in must_not) == (False, True)


def test_a_helper_that_never_asks_its_person_has_an_end_too(tmp_path: Path, origin: BareRepository) -> None:
    environ = isolated_environ(tmp_path / "home") | {INTERACTIVE: "1"}
    helper = f"!f() {{ echo $$ > {tmp_path}/asked; exec sleep 600; }}; f"
    (tmp_path / "home/.gitconfig").write_text(f'[credential]\n helper = "{helper}"\n')
    with GitServer(tmp_path, Behaviour(username="ada", password=TOKEN)) as server:
        stuck = Repository(
            f"{server.url}/{origin.path.name}",
            "main",
            cache=tmp_path / "cache",
            environ=environ,
            patience=0,
            limits=Limits(60, 0.1, person=1),
        )
        with pytest.raises(AuthError, match=r"the credential helper \S+ did not answer in 1 s"):
            stuck.fetch()
    assert has_ended(int((tmp_path / "asked").read_text()))


def test_an_ssh_program_that_hangs_is_named(tmp_path: Path) -> None:
    environ = isolated_environ(tmp_path / "home") | {"GIT_SSH_COMMAND": "sleep 600; false", "GIT_SSH_VARIANT": "ssh"}
    stuck = Repository(
        "git@example.org:a/b", "main", cache=tmp_path / "cache", environ=environ, patience=0, limits=Limits(2, 1)
    )
    with pytest.raises(UnreachableError, match=r"git fetch did not end in 2 s \(it was waiting for sleep\)"):
        stuck.fetch()


# -- TLS and proxies --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    return throw_away_certificate(tmp_path_factory.mktemp("ca"))


def test_an_authority_of_the_companys_own(tmp_path: Path, origin: BareRepository, certificate: Path) -> None:
    with GitServer(tmp_path, certificate=certificate) as server:
        url = f"{server.url}/origin.git"
        with pytest.raises(UnreachableError, match="can't be trusted") as caught:
            promoted(tmp_path, origin, url)
        assert "http.sslCAInfo" in caught.value.hint
        promoted(tmp_path, origin, url, GIT_SSL_CAINFO=str(certificate))
        (tmp_path / "home/.gitconfig").write_text(f"[http]\n sslCAInfo = {certificate}\n")
        repository = Repository(url, "main", cache=tmp_path / "other", environ=isolated_environ(tmp_path / "home"))
        assert repository.fetch().commit == origin.tip()


@pytest.mark.parametrize("configured", [False, True], ids=["HTTPS_PROXY", "http.proxy"])
def test_a_proxy(tmp_path: Path, origin: BareRepository, certificate: Path, configured: bool) -> None:
    with GitServer(tmp_path, certificate=certificate) as server, relaying() as proxy:
        environ = {"GIT_SSL_CAINFO": str(certificate)}
        if configured:
            (tmp_path / "home").mkdir()
            (tmp_path / "home/.gitconfig").write_text(f"[http]\n proxy = {proxy.url}\n")
        else:
            environ["HTTPS_PROXY"] = proxy.url
        promoted(tmp_path, origin, f"{server.url}/origin.git", **environ)
        assert set(proxy.reached) == {server.netloc}


# -- tokens -----------------------------------------------------------------------------------------------------------


def test_ci_tokens_go_to_their_own_hosts_alone() -> None:
    environ = {
        "GITHUB_TOKEN": "github-token",
        "AZURE_DEVOPS_EXT_PAT": "azure-token",
        "GITHUB_SERVER_URL": "https://ghe.example.org",
    }

    def password(url: str) -> str | None:
        return access(url, environ).environ.get("PROMOTER_GIT_CREDENTIAL_PASSWORD")

    assert password("https://ghe.example.org/a/b") == "github-token"
    assert password("https://org@dev.azure.com/org/p/_git/r") == "azure-token"
    assert password("https://org.visualstudio.com/p/_git/r") == "azure-token"
    for other in (
        "https://github.com/a/b",
        "http://ghe.example.org/a/b",
        "https://github.com.evil.org/a/b",
        "https://evilvisualstudio.com/a",
        "git@github.com:a/b",
    ):
        assert password(other) is None
    del environ["GITHUB_SERVER_URL"]
    assert password("https://github.com/a/b") == "github-token"
    assert access("https://org@dev.azure.com/org/p/_git/r", environ).address == "https://dev.azure.com/org/p/_git/r"
    assert access("ssh://git:secretpassword@host/a/b", environ).address == "ssh://git@host/a/b"
    assert access("git@github.com:a/b.git", environ).address == "git@github.com:a/b.git"


def test_a_credential_helper_that_waits_for_a_person_is_named(tmp_path: Path, origin: BareRepository) -> None:
    """It ends with everything that it started."""
    helper = tmp_path / "git-credential-browser"
    helper.write_text(f"#!/bin/sh\nsleep 600 &\necho $! > {tmp_path}/child\nwait\n")
    helper.chmod(0o755)
    environ = isolated_environ(tmp_path / "home")
    environ["PATH"] = f"{tmp_path}:{environ['PATH']}"
    (tmp_path / "home/.gitconfig").write_text("[credential]\n helper = browser\n")
    with GitServer(tmp_path, Behaviour(username="ada", password="x")) as server:
        url = f"{server.url}/origin.git"
        stuck = Repository(url, "main", cache=tmp_path / "cache", environ=environ, limits=Limits(60, 1))
        with pytest.raises(AuthError, match="the credential helper browser did not answer in 1 s"):
            stuck.fetch()
    assert has_ended(int((tmp_path / "child").read_text()))


def test_a_program_that_signs_and_waits_for_a_person_is_named(tmp_path: Path, origin: BareRepository) -> None:
    program = tmp_path / "my-gpg"
    program.write_text("#!/bin/sh\nsleep 600\n")
    program.chmod(0o755)
    environ = isolated_environ(tmp_path / "home")
    (tmp_path / "home/.gitconfig").write_text(f"[commit]\n gpgSign = true\n[gpg]\n program = {program}\n")
    stuck = Repository(origin.url, "main", cache=tmp_path / "cache", environ=environ, limits=Limits(60, 1))
    with pytest.raises(UsageError, match=r"can't be signed: error: my-gpg failed to sign the data: it did not answer in 1 s"):
        stuck.apply(add_line)


def test_the_token_of_an_azure_pipeline_is_a_bearer_token(tmp_path: Path, origin: BareRepository) -> None:
    """dev.azure.com can't be served here: its configuration is read for it, and used with this server's name put in."""
    reached = access("https://dev.azure.com/org/p/_git/r", {"SYSTEM_ACCESSTOKEN": TOKEN})
    settings = {
        reached.environ[f"GIT_CONFIG_KEY_{n}"]: reached.environ[f"GIT_CONFIG_VALUE_{n}"]
        for n in range(int(reached.environ["GIT_CONFIG_COUNT"]))
    }
    key = "http.https://dev.azure.com/.extraHeader"
    assert settings[key] == f"Authorization: Bearer {TOKEN}"
    assert redact(TOKEN) == "***"
    with (
        GitServer(tmp_path, Behaviour(bearer=TOKEN)) as server,
        GitServer(tmp_path, Behaviour(redirect_to=server.url)) as other,
    ):
        for at, allowed in ((server, True), (other, False)):
            pairs = {**settings, key.replace("https://dev.azure.com", at.url): settings[key]}
            environ = {"GIT_CONFIG_COUNT": str(len(pairs))}
            for n, (name, value) in enumerate(pairs.items()):
                environ |= {f"GIT_CONFIG_KEY_{n}": name, f"GIT_CONFIG_VALUE_{n}": value}
            if allowed:
                promoted(tmp_path, origin, f"{at.url}/origin.git", **environ)
                server.authorizations.clear()
            else:
                with pytest.raises(UnreachableError):
                    promoted(tmp_path, origin, f"{at.url}/origin.git", **environ)
        assert server.authorizations == [], "the token followed a redirect"


# -- servers that can do less -----------------------------------------------------------------------------------------


def test_a_server_that_knows_no_shallow_clones_serves_too(tmp_path: Path, origin: BareRepository) -> None:
    for number in range(5):
        origin.commit({"other": b"%d" % number})
    with GitServer(tmp_path, Behaviour(shallow=False)) as server:
        repository = Repository(
            f"{server.url}/origin.git", "main", cache=tmp_path / "cache", environ=isolated_environ(tmp_path / "home")
        )
        assert repository.apply(add_line).tip == origin.tip()
        (cache,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
        found = objects_in(cache)
        assert found.pop("commit") in {2, 7}, "all commits; git 2.31 gets on without those in between"
        assert found == {"tree": 6, "blob": 2}, "and what is on the way"
        assert len(list(repository.history([OVERLAY], limit=9))) == 2


def test_a_server_that_forbids_filtering_trees_serves_too(tmp_path: Path, origin: BareRepository) -> None:
    origin.git("config", "uploadpackfilter.tree.allow", "false")
    objects = promoted(tmp_path, origin, origin.url)
    assert objects == {"commit": 2, "tree": 7, "blob": 2}, "all trees, and of the blobs those on the way"


def test_a_repository_of_sha256(tmp_path: Path) -> None:
    origin = bare_repository(tmp_path, object_format="sha256")
    origin.commit({OVERLAY: b"newTag: v1\n"}, "First")
    objects = promoted(tmp_path, origin, origin.url)
    assert len(origin.tip()) == 64
    assert objects == {"commit": 2, "tree": 6, "blob": 2}
    again = Repository(origin.url, "main", cache=tmp_path / "cache", environ=isolated_environ(tmp_path / "home"))
    assert again.fetch().read(OVERLAY) == b"newTag: v1\nours\n"


def test_a_server_that_takes_no_push_options_is_named(tmp_path: Path, origin: BareRepository) -> None:
    environ = isolated_environ(tmp_path / "home")
    (tmp_path / "home" / ".gitconfig").write_text("[push]\n\tpushOption = ci.skip\n")
    with pytest.raises(UsageError, match="the receiving end does not support push options") as caught:
        Repository(origin.url, "main", cache=tmp_path / "cache", environ=environ).apply(lambda _: Proposal({"x": b"1"}, "Try"))
    assert "push.pushOption" in caught.value.hint
