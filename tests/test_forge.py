"""The two forges' clients over real HTTP: each request and answer is held against the published descriptions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.hosting.forge import Draft, Forge, GatesStatus, PullRequest, State, address_of
from promoter.hosting.forge.github_queries import STANDING
from promoter.models import ForgeKind, MergeMethod
from promoter.promotion.pull_request import reviewed
from tests.support.forge_repository import METHODS, Check, ForgeRepository
from tests.support.forge_server import IDENTITY, TOKEN, Answer, ForgeServer, forge_server
from tests.support.git_server import bare_repository
from tests.support.histories import ENVIRONMENT
from tests.support.pull_requests import KINDS, client

BRANCH = "promoter/production/fraud-detector"
GITHUB, AZURE = ForgeKind.GITHUB, ForgeKind.AZURE_DEVOPS


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForgeServer]:
    """A repository whose branch is one commit ahead of main."""
    bare = bare_repository(tmp_path)
    begin = bare.commit({"a.txt": b"1\n"}, "Begin")
    proposed = bare.commit({"a.txt": b"2\n"}, "Change a\n\nWhy: because\nModel: m")
    bare.git("update-ref", f"refs/heads/{BRANCH}", proposed)
    bare.git("update-ref", "refs/heads/main", begin)
    with forge_server(ForgeRepository(bare.path)) as running:
        yield running


def draft(**changes: object) -> Draft:
    given = {"branch": BRANCH, "base": "main", "title": "Promote", "body": "Why\n\nModel: m", **changes}
    return Draft(**given)  # type: ignore[arg-type]


@pytest.fixture(params=KINDS, ids=str)
def kind(request: pytest.FixtureRequest) -> ForgeKind:
    return ForgeKind(request.param)


@pytest.fixture
def forge(server: ForgeServer, kind: ForgeKind) -> Forge:
    return client(server, kind)


# -- what both do -----------------------------------------------------------------------------------------------------


def test_opened_found_updated_and_closed(server: ForgeServer, forge: Forge) -> None:
    assert forge.pull_requests(BRANCH, "main") == []
    opened = forge.open(draft(labels=("promotion",), reviewers=(IDENTITY,)))
    (pull,) = server.pulls
    assert (pull.title, pull.body, pull.labels, pull.reviewers) == ("Promote", "Why\n\nModel: m", ["promotion"], [IDENTITY])
    assert (opened.state, opened.head, opened.merged) == (State.OPEN, server.repository.head(BRANCH), None)
    assert opened.url.endswith("/1")
    (found,) = forge.pull_requests(BRANCH, "main")
    assert (found.number, found.body, found.labels) == (1, pull.body, frozenset({"promotion"}))
    forge.update(found, draft(title="Promote again", labels=("promotion", "urgent"), reviewers=(IDENTITY,)))
    assert (pull.title, pull.labels, pull.reviewers) == ("Promote again", ["promotion", "urgent"], [IDENTITY])
    forge.comment(1, "Superseded")
    forge.comment(1, "Superseded")
    assert pull.comments == ["Superseded"]
    forge.close(1)
    assert forge.pull_requests(BRANCH, "main")[0].state is State.CLOSED


def test_what_is_there_already_is_not_written_again(server: ForgeServer, forge: Forge) -> None:
    opened = forge.open(draft(labels=("promotion",)))
    before = len(server.requests)
    server.pulls[0].body = server.pulls[0].body.replace("\n", "\r\n") if forge.name == "GitHub" else server.pulls[0].body
    (found,) = forge.pull_requests(BRANCH, "main")
    assert forge.update(found, draft(labels=("promotion",))).number == opened.number
    assert {method for method, _ in server.requests[before:]} == {"GET"}


def test_one_that_somebody_opened_at_the_same_moment_is_taken(server: ForgeServer, forge: Forge) -> None:
    """GitHub answers 422 and Azure DevOps 409."""
    first = forge.open(draft())
    assert forge.open(draft(title="Promote again")).number == first.number
    assert [one.title for one in server.pulls] == ["Promote again"]


def test_an_answer_that_gets_lost_opens_no_second_one(server: ForgeServer, forge: Forge) -> None:
    server.fault("POST", "/pulls" if forge.name == "GitHub" else "/pullrequests", Answer(201), lost=True)
    assert forge.open(draft()).number == 1
    assert len(server.pulls) == 1


def test_the_newest_comes_first(server: ForgeServer, forge: Forge) -> None:
    for number in (1, 2, 3):
        forge.open(draft(body=f"{number}\n" + "long " * 500))
        if number < 3:
            forge.close(number)
    newest, before = forge.pull_requests(BRANCH, "main")[:2]
    assert ((newest.number, newest.state), (before.number, before.state)) == ((3, State.OPEN), (2, State.CLOSED))
    assert len(newest.body) > 2000  # Azure DevOps cuts descriptions in lists


def test_who_approved_is_by_the_last_vote_of_each_person(server: ForgeServer, forge: Forge) -> None:
    forge.open(draft())
    assert forge.approvers(1) == ()
    server.pulls[0].votes = [
        ("eve", "APPROVED"),
        ("ada", "APPROVED"),
        ("bob", "CHANGES_REQUESTED"),
        ("eve", "CHANGES_REQUESTED"),
        ("bob", "APPROVED"),
        ("cat", "COMMENTED"),
    ]
    assert forge.approvers(1) == ("ada", "bob")


def test_a_comment_after_an_approval_takes_nothing_back(server: ForgeServer) -> None:
    forge = client(server, GITHUB)
    forge.open(draft())
    server.pulls[0].votes = [("ada", "APPROVED"), ("ada", "COMMENTED"), ("bob", "APPROVED"), ("bob", "DISMISSED")]
    assert forge.approvers(1) == ("ada",)


@pytest.mark.parametrize("method", METHODS)
def test_a_release_is_found_by_its_pull_request(server: ForgeServer, forge: Forge, method: str) -> None:
    forge.open(draft())
    server.pulls[0].votes = [("ada", "APPROVED")]
    proposed = server.repository.head(BRANCH)
    merged = server.repository.merge(server.pulls[0], method)
    environment = replace(ENVIRONMENT, name="production")
    for commit in {merged, proposed if method == "merge" else merged}:
        found = reviewed(forge, environment, commit)
        assert found is not None
        assert (found.approvers, found.url.endswith("/1")) == (("ada",), True)
    assert reviewed(forge, environment, "0" * 40) is None


@pytest.mark.parametrize("method", METHODS)
def test_merged_by_hand(server: ForgeServer, forge: Forge, method: str) -> None:
    forge.open(draft())
    before = forge.standing(1)
    assert (before.pull_request.state, before.pull_request.merged) == (State.OPEN, None)
    merged = server.repository.merge(server.pulls[0], method)
    after = forge.standing(1).pull_request
    assert (after.state, after.merged) == (State.MERGED, merged)
    assert after.merged == server.repository.head("main")
    assert after.merged != after.head
    assert forge.pull_requests(BRANCH, "main")[0].merged == merged


@pytest.mark.parametrize("method", list(MergeMethod))
@pytest.mark.parametrize("protected", [True, False])
def test_merged_when_ready_with_our_message(server: ForgeServer, forge: Forge, method: MergeMethod, protected: bool) -> None:
    server.repository.protected = protected
    opened = forge.open(draft())
    assert forge.merge_when_ready(opened, method, "Promote (#1)", "Why: because\nModel: m") == ""
    assert server.pulls[0].state == ("open" if protected else "merged")
    if protected:
        server.repository.ready(server.pulls[0])
    assert server.pulls[0].merged == server.repository.head("main")
    message = server.repository.git("log", "-1", "--format=%B", "main")
    assert message.startswith("Change a" if method is MergeMethod.REBASE else "Promote (#1)")
    assert message.endswith("Why: because\nModel: m")


def test_required_checks(server: ForgeServer, forge: Forge) -> None:
    forge.open(draft())
    server.pulls[0].checks = [Check("build"), Check("lint", required=False, result="failure"), Check("e2e", result="success")]
    standing = forge.standing(1)
    assert ([one.name for one in standing.failed], [one.name for one in standing.pending]) == ([], ["build"])
    server.pulls[0].checks[0].result = "failure"
    assert [one.name for one in forge.standing(1).failed] == ["build"]


def test_the_status_of_the_gates_is_set_once_and_again_for_what_is_pushed(server: ForgeServer, forge: Forge) -> None:
    opened, (good, bad) = forge.open(draft()), _GATES[forge.name]
    (pull,) = server.pulls
    for _ in range(2):
        forge.show_gates(opened, GatesStatus(True, "version 7\nmay be deployed"))
    assert (server.gates(pull), server.asked("POST", "statuses") + server.asked("POST", opened.head)) == (
        (good, "version 7 may be deployed"),
        1,
    )
    forge.show_gates(opened, GatesStatus(False, f"tags: is not set \U0001f600 {'x' * 200}"))
    state, words = server.gates(pull) or ("", "")
    assert (state, words[:20], len(words), words[-1]) == (bad, "tags: is not set \ufffd x", 140, "…")
    pushed = server.repository.git("commit-tree", _tree(server, "3\n"), "-p", BRANCH, "-m", "By hand")
    server.repository.git("update-ref", f"refs/heads/{BRANCH}", pushed)
    assert server.gates(pull) is None
    (again,) = forge.pull_requests(BRANCH, "main")
    forge.show_gates(again, GatesStatus(True, "version 7 may be deployed"))
    assert (again.head, server.gates(pull)) == (pushed, (good, "version 7 may be deployed"))


_GATES = {"GitHub": ("success", "failure"), "Azure DevOps": ("succeeded", "failed")}


def test_a_conflict_is_seen(server: ForgeServer, forge: Forge) -> None:
    forge.open(draft())
    assert not forge.standing(1).conflicts
    other = server.repository.git("commit-tree", _tree(server, "3\n"), "-p", "main", "-m", "Other")
    server.repository.git("update-ref", "refs/heads/main", other)
    assert forge.standing(1).conflicts


def _tree(server: ForgeServer, content: str) -> str:
    blob = server.repository.git("hash-object", "-w", "--stdin", given=content)
    return server.repository.git("mktree", given=f"100644 blob {blob}\ta.txt\n")


# -- what each refuses with -------------------------------------------------------------------------------------------


def refused(forge: Forge) -> PromoterError:
    with pytest.raises(PromoterError) as caught:
        forge.open(draft())
    assert TOKEN not in f"{caught.value.message} {caught.value.hint}"
    return caught.value


PERMISSION = {"X-Accepted-GitHub-Permissions": "pull_requests=write"}
DENIED = {"message": "TF401027: You need the Git 'PullRequestContribute' permission to perform this action."}


@pytest.mark.parametrize(
    ("kind", "answer", "error", "words"),
    [
        (GITHUB, Answer(403, {"message": "Resource not accessible by integration"}, PERMISSION), AuthError, "pull_requests=write"),
        (GITHUB, Answer(403, {"message": "GitHub Actions is not permitted to create or approve pull requests."}), AuthError, "not permitted to create"),
        (GITHUB, Answer(404, {"message": "Not Found"}), AuthError, "shows no repository org/repository to this token"),
        (GITHUB, Answer(301, {"message": "Moved Permanently"}), RefusedError, "has moved"),
        (GITHUB, Answer(422, {"message": "Validation Failed", "errors": [{"resource": "PullRequest", "field": "base", "code": "invalid"}]}), RefusedError, "PullRequest base invalid"),
        (GITHUB, Answer(502, "<html>"), UnreachableError, "502"),
        (AZURE, Answer(403, DENIED), AuthError, "PullRequestContribute"),
        (AZURE, Answer(203, "<html>Sign In</html>"), AuthError, "sign-in page"),
        (AZURE, Answer(302, None, {"Location": "https://spsprodweu1.vssps.visualstudio.com/_signin"}), AuthError, "sign-in page"),
        (AZURE, Answer(401, {"message": "TF400813: The user '' is not authorized to access this resource."}), AuthError, "sign-in"),
        (AZURE, Answer(404, {"message": "TF401019: The Git repository with name or identifier x does not exist"}), AuthError, "TF401019"),
        (AZURE, Answer(400, {"message": "TF401398: The pull request cannot be activated"}), RefusedError, "TF401398"),
    ],
)  # fmt: skip
def test_refusals_name_what_is_wrong(
    server: ForgeServer, kind: ForgeKind, answer: Answer, error: type[PromoterError], words: str
) -> None:
    server.fault("POST", "/pulls" if kind is GITHUB else "/pullrequests", answer, times=9)
    found = refused(client(server, kind))
    assert type(found) is error
    assert words in found.message
    assert found.hint


def test_a_token_that_expired(server: ForgeServer, kind: ForgeKind) -> None:
    found = refused(client(server, kind, token="expired"))
    assert isinstance(found, AuthError)
    assert "PROMOTER_GIT_TOKEN" in found.hint


@pytest.mark.parametrize("status", [403, 429])
def test_a_secondary_rate_limit_is_waited_for(server: ForgeServer, status: int) -> None:
    slept: list[float] = []
    limit = Answer(status, {"message": "You have exceeded a secondary rate limit."}, {"Retry-After": "7"})
    server.fault("POST", "/pulls", limit, times=2)
    assert client(server, GITHUB, slept=slept).open(draft()).number == 1
    assert slept == [7.0, 7.0]


def test_a_primary_rate_limit_is_waited_for_until_its_reset(server: ForgeServer) -> None:
    slept: list[float] = []
    headers = {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(int(time.time()) + 30)}
    server.fault("POST", "/pulls", Answer(403, {"message": "API rate limit exceeded"}, headers))
    assert client(server, GITHUB, slept=slept).open(draft()).number == 1
    assert [20 < wait <= 30 for wait in slept] == [True]


def test_a_rate_limit_that_lasts_too_long_is_reported(server: ForgeServer) -> None:
    limit = Answer(429, {"message": "API rate limit exceeded"}, {"Retry-After": "3000"})
    server.fault("POST", "/pulls", limit, times=9)
    assert "another 3000 s" in refused(client(server, GITHUB)).message


# -- GitHub -----------------------------------------------------------------------------------------------------------


def mergeable(server: ForgeServer) -> tuple[Forge, PullRequest]:
    server.repository.protected = False
    forge = client(server, GITHUB)
    return forge, forge.open(draft())


def test_a_base_branch_that_was_modified_is_merged_onto_again(server: ForgeServer) -> None:
    forge, opened = mergeable(server)
    modified = Answer(405, {"message": "Base branch was modified. Review and try the merge again."})
    server.fault("PUT", "/merge", modified, times=2)
    assert forge.merge_when_ready(opened, MergeMethod.SQUASH, "s", "b") == ""
    assert server.pulls[0].merged == server.repository.head("main")
    assert server.asked("PUT", "/merge") == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(405, {"message": "Squash merges are not allowed on this repository."}), "not allowed"),
        (Answer(409, {"message": "Head branch was modified. Review and try the merge again."}), "Head branch was modified"),
    ],
)
def test_why_it_is_not_merged_is_reported(server: ForgeServer, answer: Answer, words: str) -> None:
    forge, opened = mergeable(server)
    server.fault("PUT", "/merge", answer)
    assert words in forge.merge_when_ready(opened, MergeMethod.SQUASH, "s", "b")
    assert server.asked("PUT", "/merge") == 1


def test_a_head_that_is_not_ours_is_not_merged(server: ForgeServer) -> None:
    forge = client(server, GITHUB)
    opened = forge.open(draft())
    server.repository.git("update-ref", f"refs/heads/{BRANCH}", server.repository.head("main"))
    assert "does not match" in forge.merge_when_ready(opened, MergeMethod.SQUASH, "s", "b")


def test_teams_are_asked_by_their_slug_and_nobody_twice(server: ForgeServer) -> None:
    forge = client(server, GITHUB)
    wanted = draft(reviewers=("ada", "org/reviewers"))
    forge.open(wanted)
    pull = server.pulls[0]
    assert pull.reviewers == ["ada", "/reviewers"]
    pull.reviewers, pull.reviewed = ["/reviewers"], ["ada"]
    forge.update(forge.pull_requests(BRANCH, "main")[0], wanted)
    assert pull.reviewers == ["/reviewers"]


def test_a_merge_queue_has_a_place(server: ForgeServer) -> None:
    forge = client(server, GITHUB)
    forge.open(draft())
    server.pulls[0].queue = 3
    assert forge.standing(1).queue == 3


def test_checks_that_the_token_may_not_see_do_not_hide_the_rest(server: ForgeServer) -> None:
    forge = client(server, GITHUB)
    forge.open(draft())
    server.repository.protected = False
    denied = {"message": "Resource not accessible by integration", "type": "FORBIDDEN", "path": ["repository"]}
    answered = server.answer("POST", "/api/graphql", {"Authorization": f"Bearer {TOKEN}"}, _query(1))
    assert answered is not None
    server.fault("POST", "/graphql", Answer(200, {**answered.body, "errors": [denied]}))
    standing = forge.standing(1)
    assert (standing.pull_request.state, standing.blocked) == (State.OPEN, denied["message"])


def _query(number: int) -> bytes:
    return json.dumps({"query": STANDING, "variables": {"owner": "org", "name": "repository", "number": number}}).encode()


def test_a_pull_request_that_the_token_may_not_see(server: ForgeServer) -> None:
    server.fault("POST", "/graphql", Answer(200, {"data": {"repository": None}, "errors": [{"message": "Could not resolve"}]}))
    with pytest.raises(AuthError, match="Could not resolve"):
        client(server, GITHUB).standing(1)


# -- Azure DevOps -----------------------------------------------------------------------------------------------------


def test_reviewers_are_ids_of_identities(server: ForgeServer) -> None:
    with pytest.raises(UsageError, match=r"'ada@example.com' is not the id of an identity"):
        client(server, AZURE).open(draft(reviewers=("ada@example.com",)))


def test_a_job_token_is_a_bearer(server: ForgeServer) -> None:
    for token in ("eyJhbGciOi.payload.signature", "personal"):
        refused(client(server, AZURE, token=token))
    assert server.authorizations[0] == "Bearer eyJhbGciOi.payload.signature"
    assert server.authorizations[-1].startswith("Basic ")


# -- addresses --------------------------------------------------------------------------------------------------------

GHES = {"GITHUB_SERVER_URL": "https://ghe.example.com", "GITHUB_API_URL": "https://ghe.example.com/api/v3"}


@pytest.mark.parametrize(
    ("url", "api_url", "place"),
    [
        ("https://github.com/org/gitops.git", "https://api.github.com", "org/gitops"),
        ("https://x-access-token:secret@GitHub.com/org/gitops", "https://api.github.com", "org/gitops"),
        ("git@github.com:org/gitops.git", "https://api.github.com", "org/gitops"),
        ("ssh://git@ssh.github.com:443/org/gitops.git", "https://api.github.com", "org/gitops"),
        ("https://ghe.example.com/org/gitops.git", "https://ghe.example.com/api/v3", "org/gitops"),
        ("git@ghe.example.com:org/gitops.git", "https://ghe.example.com/api/v3", "org/gitops"),
        ("https://dev.azure.com/acme/Shop/_git/gitops", "https://dev.azure.com/acme", "Shop/gitops"),
        ("https://acme@dev.azure.com/acme/My%20Shop/_git/gitops", "https://dev.azure.com/acme", "My Shop/gitops"),
        ("https://dev.azure.com/acme/_git/gitops", "https://dev.azure.com/acme", "gitops/gitops"),
        ("git@ssh.dev.azure.com:v3/acme/Shop/gitops", "https://dev.azure.com/acme", "Shop/gitops"),
        ("https://acme.visualstudio.com/Shop/_git/gitops", "https://acme.visualstudio.com", "Shop/gitops"),
        ("https://acme.visualstudio.com/DefaultCollection/Shop/_git/gitops", "https://acme.visualstudio.com/DefaultCollection", "Shop/gitops"),
        ("https://acme.visualstudio.com/_git/gitops", "https://acme.visualstudio.com", "gitops/gitops"),
    ],
)  # fmt: skip
def test_the_forge_of_an_address(url: str, api_url: str, place: str) -> None:
    found = address_of(url, GHES)
    assert (found.api_url, found.place) == (api_url, place)


def test_the_forge_that_is_configured() -> None:
    found = address_of(
        "https://git.example.com/x.git", {}, kind=GITHUB, api_url="https://git.example.com/api/v3/", repository="o/r"
    )
    assert (found.kind, found.api_url, found.place) == (GITHUB, "https://git.example.com/api/v3", "o/r")
    server = address_of("https://tfs.example.com/tfs/Main/Shop/_git/gitops", {}, kind=AZURE)
    assert (server.api_url, server.place) == ("https://tfs.example.com/tfs/Main", "Shop/gitops")


@pytest.mark.parametrize(
    ("url", "kind", "hint"),
    [
        ("https://user:secret@git.example.com/org/gitops.git", None, "forge.kind"),
        ("https://github.com/gitops.git", None, "forge.repository"),
        ("ssh://git@tfs.example.com/x/y", AZURE, "forge.api-url"),
    ],
)
def test_an_address_that_does_not_show_it(url: str, kind: ForgeKind | None, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        address_of(url, {}, kind=kind)
    assert hint in caught.value.hint
    assert "secret" not in caught.value.message
