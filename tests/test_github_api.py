"""Commits made by GitHub and tokens of GitHub Apps, against a local API that checks each request and really commits."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.gitops import Proposal, Repository, Snapshot
from promoter.hosting.github import api_url
from promoter.hosting.github_app import installation_token
from promoter.hosting.hosts import HOSTS
from promoter.models import ForgeKind
from tests.support.git_server import BareRepository, GitServer, bare_repository, isolated_environ
from tests.support.github_api import GitHub, github_api

OVERLAY = "overlays/production/kustomization.yaml"
KEY_PASSED = "GITHUB_APP_PRIVATE_KEY"


@pytest.fixture
def origin(tmp_path: Path) -> BareRepository:
    repository = bare_repository(tmp_path, "acme/gitops.git")
    repository.commit({OVERLAY: b"newTag: v1\n"}, "First")
    return repository


@pytest.fixture
def github(origin: BareRepository) -> Iterator[GitHub]:
    with github_api(origin) as running:
        yield running


@pytest.fixture
def server(tmp_path: Path) -> Iterator[GitServer]:
    with GitServer(tmp_path) as running:
        yield running


@pytest.fixture
def repository(tmp_path: Path, github: GitHub, server: GitServer) -> Repository:
    return opened(tmp_path, github, f"{server.url}/acme/gitops.git")


def opened(tmp_path: Path, github: GitHub, url: str, **environ: str) -> Repository:
    environ = {**isolated_environ(tmp_path / "home"), **github.environ(), "GITHUB_TOKEN": github.token, **environ}
    return Repository(url, "main", cache=tmp_path / "cache", environ=environ, github_api=True, sleep=lambda _: None)


def add_line(snapshot: Snapshot) -> Proposal:
    content = (snapshot.read(OVERLAY) or b"") + "größer\n".encode()
    return Proposal({OVERLAY: content, "new/binary": b"\x00\xff\r\n"}, "Promote", "Why", (("Promotion-Id", "abc"),))


# -- commits ----------------------------------------------------------------------------------------------------------


def test_github_makes_the_commit(repository: Repository, github: GitHub, origin: BareRepository) -> None:
    first = origin.tip()
    pushed = repository.apply(add_line)

    assert pushed.commit is not None
    assert (pushed.commit.sha, pushed.attempts) == (origin.tip(), 1)
    assert pushed.commit.parents == (first,)
    assert pushed.commit.trailers == {"Promotion-Id": "abc"}
    assert pushed.commit.author == "Bob <bob@example.org>", "the API's, not the runner's"
    assert origin.show(OVERLAY) == "newTag: v1\ngrößer\n".encode()
    assert origin.show("new/binary") == b"\x00\xff\r\n"
    assert github.commits[0]["expectedHeadOid"] == first
    assert repository.fetch().read(OVERLAY) == origin.show(OVERLAY)


def test_nothing_to_do_asks_nothing(repository: Repository, github: GitHub) -> None:
    assert repository.apply(lambda _: None).commit is None
    assert repository.apply(lambda _: Proposal({OVERLAY: b"newTag: v1\n"}, "Same")).commit is None
    assert github.commits == []


def test_a_branch_that_moved_is_read_again(repository: Repository, github: GitHub, origin: BareRepository) -> None:
    calls = itertools.count()

    def edit(snapshot: Snapshot) -> Proposal:
        if next(calls) < 2:
            origin.commit({OVERLAY: (snapshot.read(OVERLAY) or b"") + b"theirs\n"})
        return add_line(snapshot)

    assert repository.apply(edit).attempts == 3
    assert origin.show(OVERLAY) == "newTag: v1\ntheirs\ntheirs\ngrößer\n".encode()
    assert len({asked["expectedHeadOid"] for asked in github.commits}) == 3


@pytest.mark.parametrize("theirs", [False, True], ids=["alone", "below somebody else's"])
def test_a_commit_whose_answer_was_lost_is_not_made_twice(
    tmp_path: Path, github: GitHub, server: GitServer, origin: BareRepository, theirs: bool
) -> None:
    def meanwhile(_: float) -> None:
        if theirs:
            origin.commit({"theirs": b"1"})

    url = f"{server.url}/acme/gitops.git"
    environ = {**isolated_environ(tmp_path / "home"), **github.environ(), "GITHUB_TOKEN": github.token}
    repository = Repository(url, "main", cache=tmp_path / "cache", environ=environ, github_api=True, sleep=meanwhile)
    github.cut = 1
    pushed = repository.apply(add_line)

    assert pushed.commit is not None
    assert origin.git("log", "--format=%s", "main").count("Promote") == 1
    assert pushed.commit.sha == origin.git("log", "--format=%H", "--grep=Promote", "main")
    assert len(github.commits) == 2, "the request was repeated, and refused as stale"


@pytest.mark.parametrize("cut", [0, 1], ids=["", "whose first answer was lost"])
def test_the_head_of_a_pull_request_is_made_by_github_too(
    repository: Repository, github: GitHub, origin: BareRepository, cut: int
) -> None:
    base, branch, replaced = origin.tip(), "promoter/production/fraud", list[str]()

    def proposed(edit: Callable[[Snapshot], Proposal]) -> str:
        made = repository.propose(branch, edit, lambda proposal: replaced.append(proposal.subject))
        assert made is not None
        assert (made.sha, made.author) == (origin.tip(branch), "Bob <bob@example.org>")
        assert origin.git("rev-parse", f"{branch}^") == base
        return made.sha

    origin.git("update-ref", f"refs/heads/{branch}.new", base)  # of a run that was killed
    github.cut = cut
    first = proposed(add_line)
    assert proposed(add_line) == first
    asked = len(github.commits)
    assert proposed(lambda _: Proposal({OVERLAY: b"newTag: v2\n"}, "Promote another")) != first
    assert len(github.commits) == asked + 1
    assert replaced[-1] == "Promote another"
    assert origin.git("for-each-ref", "--format=%(refname)", "refs/heads").split() == [
        "refs/heads/main",
        f"refs/heads/{branch}",
    ]
    assert origin.tip() == base


RULE = "Repository rule violations found\n\nChanges must be made through a pull request."


@pytest.mark.parametrize(
    ("refusal", "error", "said", "hint"),
    [
        (("UNPROCESSABLE", RULE), RefusedError, "does not accept a direct commit", "write: pull-request"),
        (("FORBIDDEN", "Resource not accessible by integration"), AuthError, "acme/gitops", "contents: write"),
        (("NOT_FOUND", "Could not resolve to a Repository"), AuthError, "acme/gitops", "contents: write"),
        (("UNPROCESSABLE", "A path was requested for deletion"), RefusedError, "UNPROCESSABLE", "git.commit: push"),
    ],
)
def test_what_github_refuses_is_named(
    repository: Repository, github: GitHub, refusal: tuple[str, str], error: type[PromoterError], said: str, hint: str
) -> None:
    github.refusal = refusal
    with pytest.raises(error, match=said) as caught:
        repository.apply(add_line)
    assert type(caught.value) is error
    assert hint in caught.value.hint
    assert github.token not in f"{caught.value}{caught.value.hint}"


LIMITED = {"message": "You have exceeded a secondary rate limit"}


@pytest.mark.parametrize(
    ("answer", "error", "hint"),
    [
        ((401, {}, {"message": "Bad credentials"}), AuthError, "renew"),
        ((403, {}, {"message": "Resource protected by organization SAML enforcement"}), AuthError, "contents: write"),
        ((403, {"Retry-After": "47"}, LIMITED), UnreachableError, "47 seconds"),
    ],
)
def test_what_the_api_answers_is_reported(
    repository: Repository, github: GitHub, answer: tuple[int, dict[str, str], object], error: type[PromoterError], hint: str
) -> None:
    github.answers = [answer]
    with pytest.raises(error) as caught:
        repository.apply(add_line)
    assert hint in caught.value.hint
    assert repository.apply(add_line).commit is not None


def test_an_outage_of_the_api_is_waited_for(repository: Repository, github: GitHub) -> None:
    something = {
        "errors": [{"message": "Something went wrong while executing your query. This may be the result of a timeout"}]
    }
    github.answers = [(502, {}, ""), (200, {}, something)]
    assert repository.apply(add_line).commit is not None


@pytest.mark.parametrize("url", ["https://git.example.org/acme/gitops.git", "https://github.com/gitops", "git@github.com:x"])
def test_only_a_repository_on_github(tmp_path: Path, github: GitHub, url: str) -> None:
    with pytest.raises(UsageError, match=r"git.commit: github-api"):
        opened(tmp_path, github, url)


@pytest.mark.parametrize(
    "url", ["git@127.0.0.1:acme/gitops.git", "ssh://git@127.0.0.1:22/acme/gitops", "http://127.0.0.1/acme/gitops/"]
)
def test_the_repository_is_known_by_any_address(tmp_path: Path, github: GitHub, url: str) -> None:
    from promoter.gitops.github_api import GitHubCommits

    assert GitHubCommits(url, "main", github.environ()).repository == "acme/gitops"


# -- apps -------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """Private and public, as PEM."""
    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private = made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    public = made.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private.decode(), public.decode()


@pytest.fixture
def app(github: GitHub, key: tuple[str, str]) -> dict[str, str]:
    github.public_key = key[1]
    return {
        **github.environ(),
        "GITHUB_APP_ID": github.app,
        "GITHUB_APP_INSTALLATION_ID": "678",
        "GITHUB_APP_PRIVATE_KEY": key[0],
    }


@pytest.mark.parametrize("form", ["text", "escaped", "file"])
def test_an_apps_key_becomes_a_token(tmp_path: Path, github: GitHub, app: dict[str, str], form: str) -> None:
    text = app[KEY_PASSED]
    (tmp_path / "app.pem").write_text(text)
    app[KEY_PASSED] = {"text": text, "escaped": text.replace("\n", "\\n"), "file": str(tmp_path / "app.pem")}[form]
    assert installation_token(app) == github.token
    assert installation_token(app) == github.token
    assert github.minted == 1, "kept until it ends"
    assert installation_token({}) is None


def test_a_token_that_is_about_to_end_is_minted_again(github: GitHub, app: dict[str, str]) -> None:
    github.lifetime = 200
    installation_token(app)
    installation_token(app)
    assert github.minted == 2


def test_an_app_commits(tmp_path: Path, github: GitHub, server: GitServer, origin: BareRepository, app: dict[str, str]) -> None:
    repository = opened(tmp_path, github, f"{server.url}/acme/gitops.git", **app, GITHUB_TOKEN="another")
    pushed = repository.apply(add_line)
    assert pushed.tip == origin.tip()
    assert github.minted == 1


def test_an_app_that_is_not_known(github: GitHub, app: dict[str, str], key: tuple[str, str]) -> None:
    with pytest.raises(AuthError, match="installation 9") as caught:
        installation_token(app | {"GITHUB_APP_INSTALLATION_ID": "9"})
    assert "GITHUB_APP_PRIVATE_KEY" in caught.value.hint
    with pytest.raises(AuthError, match="could not be decoded") as caught:
        installation_token(app | {"GITHUB_APP_ID": "999"})
    assert "PRIVATE KEY-----" not in f"{caught.value}{caught.value.hint}"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"GITHUB_APP_INSTALLATION_ID": ""}, "GITHUB_APP_INSTALLATION_ID is not"),
        ({KEY_PASSED: "-----BEGIN RSA PRIVATE KEY-----\nrubbish\n-----END RSA PRIVATE KEY-----"}, "is not a private RSA key"),
        ({KEY_PASSED: "/no/such/file"}, "neither PEM text nor a file"),
    ],
)
def test_an_app_that_is_named_wrongly(app: dict[str, str], change: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        installation_token(app | {"GITHUB_APP_ID": "another"} | change)
    assert "rubbish" not in str(caught.value)


def test_whose_tokens_they_are() -> None:
    enterprise = {"GITHUB_SERVER_URL": "https://ghe.example.org", "GITHUB_API_URL": "https://ghe.example.org/api/v3/"}
    assert api_url({}) == "https://api.github.com"
    assert api_url(enterprise) == "https://ghe.example.org/api/v3"
    assert HOSTS[ForgeKind.GITHUB].has("github.com", {})
    assert HOSTS[ForgeKind.GITHUB].has("ghe.example.org", enterprise)
    assert not HOSTS[ForgeKind.GITHUB].has("github.com", enterprise)
