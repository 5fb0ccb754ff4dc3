"""GitHub (and GitHub Enterprise Server): pull requests by REST, auto-merge and their status by GraphQL.

Sources: GitHub's OpenAPI description and GraphQL schema; "Troubleshooting the REST API"; "Rate limits for the REST API".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError
from promoter.hosting import github
from promoter.hosting.answers import error_message, json_of, object_id
from promoter.hosting.forge.github_queries import AUTO_MERGE, STANDING, standing_of
from promoter.hosting.forge.seam import GATES, Draft, GatesStatus, PullRequest, Standing, State
from promoter.hosting.hosts import Address
from promoter.hosting.tokens import names
from promoter.models import ForgeKind, MergeMethod
from promoter.transport.boundary import odd_answers_are_errors, reading
from promoter.transport.credential import Credential

if TYPE_CHECKING:
    import requests

_TRIES = 5
_MERGEABLE = ("clean status", "unstable status", "has_hooks status")
_TOKENS = names(ForgeKind.GITHUB)
_APPROVED = "APPROVED"
_DECIDING = (_APPROVED, "CHANGES_REQUESTED", "DISMISSED")


@odd_answers_are_errors
class GitHubPullRequests:
    """The pull requests of one repository on GitHub: see `Forge`."""

    name = "GitHub"
    longest_body = 65_536

    def __init__(self, address: Address, token: Callable[[], Credential], sleep: Callable[[float], None]) -> None:
        self._http = github.connect(address.api_url, token, sleep=sleep)
        self._address, self._sleep = address, sleep
        self._repository = f"/repos/{quote(address.owner)}/{quote(address.repository)}"
        self._graphql = github.graphql_url(address.api_url)

    def reference(self, number: int) -> str:
        return f"#{number}"

    def pull_requests(self, branch: str, base: str) -> list[PullRequest]:
        newest = {"state": "all", "sort": "created", "direction": "desc", "per_page": "10"}
        found = self._ask("GET", "/pulls", params={"head": f"{self._address.owner}:{branch}", "base": base, **newest})
        return [_pull_request(one) for one in found]

    def open(self, draft: Draft) -> PullRequest:
        try:
            with reading(self._http):
                opened = self._create(draft)
        except (RefusedError, UnreachableError):
            # 422 "already exists"; or the answer got lost on its way, and with it the number
            found = next((one for one in self.pull_requests(draft.branch, draft.base) if one.state is State.OPEN), None)
            if found is None:
                raise
            return self.update(found, draft)
        self._add_labels(opened, draft.labels)
        self._add_reviewers(opened.number, draft.reviewers)
        return opened

    def _create(self, draft: Draft) -> PullRequest:
        asked = {"title": draft.title, "head": draft.branch, "base": draft.base, "body": draft.body, "draft": draft.draft}
        return _pull_request(self._ask("POST", "/pulls", json=asked, to="open a pull request"))

    def update(self, found: PullRequest, draft: Draft) -> PullRequest:
        updated = found
        if (found.title, _plain(found.body)) != (draft.title, _plain(draft.body)):
            asked = {"title": draft.title, "body": draft.body}
            updated = _pull_request(self._ask("PATCH", f"/pulls/{found.number}", json=asked, to="edit a pull request"))
        self._add_labels(found, draft.labels)
        if draft.reviewers:
            reviewed = self._ask("GET", f"/pulls/{found.number}/reviews", params={"per_page": "100"})
            done = {str(review["user"]["login"]) for review in reviewed if review.get("user")}
            self._add_reviewers(found.number, [one for one in draft.reviewers if one not in done], unless_asked=True)
        return updated

    def close(self, number: int) -> None:
        self._ask("PATCH", f"/pulls/{number}", json={"state": "closed"}, to="close a pull request")

    def comment(self, number: int, text: str) -> None:
        path = f"/issues/{number}/comments"
        before = self._ask("GET", path, params={"per_page": "100"})
        if all(_plain(str(one.get("body"))) != _plain(text) for one in before):
            self._ask("POST", path, json={"body": text}, to="comment on a pull request")

    def show_gates(self, found: PullRequest, status: GatesStatus) -> None:
        known = self._ask("GET", f"/commits/{found.head}/statuses", params={"per_page": "100"}, to="see commit statuses")
        newest: Mapping[str, Any] = next((one for one in known if one.get("context") == GATES), {})
        wanted = {"state": "success" if status.passed else "failure", "context": GATES, "description": status.words}
        if any(newest.get(key) != value for key, value in wanted.items()):
            self._ask("POST", f"/statuses/{found.head}", json=wanted, to="set a commit status")

    def merge_when_ready(self, found: PullRequest, method: MergeMethod, subject: str, body: str) -> str:
        """By auto-merge; GitHub refuses that for what can be merged already, which is then merged at once."""
        message = {} if method is MergeMethod.REBASE else {"commitHeadline": subject, "commitBody": body}
        asked = {"pullRequestId": found.id, "mergeMethod": method.name, "expectedHeadOid": found.head, **message}
        _, errors = self._query(AUTO_MERGE, {"input": asked})
        refusal = "; ".join(errors)
        if any(words in refusal for words in _MERGEABLE):
            return self._merge(found, method, subject, body)
        return refusal

    def _merge(self, found: PullRequest, method: MergeMethod, subject: str, body: str) -> str:
        message = {} if method is MergeMethod.REBASE else {"commit_title": subject, "commit_message": body}
        asked = {"merge_method": method.value, "sha": found.head, **message}
        for attempt in range(_TRIES):
            response = self._http.request("PUT", f"{self._repository}/pulls/{found.number}/merge", json=asked)
            if response.status_code == 200:
                return ""
            # 405 "Base branch was modified. Review and try the merge again.": somebody else's merge came first
            if response.status_code != 405 or "modified" not in error_message(response):
                break
            self._sleep(min(8.0, 0.5 * 2**attempt))
        if response.status_code in (401, 403, 404):
            raise self._refusal(response, "merge a pull request")
        return error_message(response)

    def standing(self, number: int) -> Standing:
        variables = {"owner": self._address.owner, "name": self._address.repository, "number": number}
        data, errors = self._query(STANDING, variables)
        found = ((data or {}).get("repository") or {}).get("pullRequest")
        if not found:
            raise AuthError(
                f"GitHub does not show pull request #{number} of {self._address.place} to this token: {'; '.join(errors)}",
                hint=f"give the token read access to pull requests and checks ({_TOKENS})",
            )
        standing = standing_of(found, "; ".join(errors))
        if standing.pull_request.number != number:
            raise ValueError(f"it is about pull request #{standing.pull_request.number}, not #{number}")
        return standing

    def approvers(self, number: int) -> tuple[str, ...]:
        """By the last review of each that approves, asks for changes, or was dismissed: a comment changes nothing."""
        last: dict[str, str] = {}
        for review in self._ask("GET", f"/pulls/{number}/reviews", params={"per_page": "100"}):
            if review.get("user") and review.get("state") in _DECIDING:
                last[str(review["user"]["login"])] = str(review["state"])
        return tuple(sorted(login for login, state in last.items() if state == _APPROVED))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _add_labels(self, found: PullRequest, labels: Iterable[str]) -> None:
        if missing := [label for label in labels if label not in found.labels]:
            self._ask("POST", f"/issues/{found.number}/labels", json={"labels": missing}, to="label a pull request")

    def _add_reviewers(self, number: int, reviewers: Iterable[str], *, unless_asked: bool = False) -> None:
        """`org/team` is a team, anything else a login."""
        wanted = list(reviewers)
        path = f"/pulls/{number}/requested_reviewers"
        if wanted and unless_asked:
            asked = self._ask("GET", path)
            known = {str(user["login"]) for user in asked["users"]} | {str(team["slug"]) for team in asked["teams"]}
            wanted = [one for one in wanted if one.rpartition("/")[2] not in known]
        users = [one for one in wanted if "/" not in one]
        teams = [one.partition("/")[2] for one in wanted if "/" in one]
        if wanted:
            body = {"reviewers": users, "team_reviewers": teams}
            self._ask("POST", path, json=body, to="ask for reviews")

    def _query(self, text: str, variables: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
        """Data and error messages; an answer may have both."""
        response = self._http.request("POST", self._graphql, json={"query": text, "variables": variables})
        body = json_of(response)
        if response.status_code != 200 or not isinstance(body, dict):
            raise self._refusal(response, "see pull requests")
        return body.get("data"), [str(error.get("message")) for error in body.get("errors") or ()]

    def _ask(self, method: str, path: str, *, json: Any = None, params: Any = None, to: str = "see pull requests") -> Any:
        response = self._http.request(method, self._repository + path, json=json, params=params)
        body = json_of(response)
        if response.status_code in (200, 201) and body is not None:
            return body
        raise self._refusal(response, to)

    def _refusal(self, response: requests.Response, to: str) -> PromoterError:
        """The error for an unexpected answer; `to` is what was tried."""
        place, status, words = self._address.place, response.status_code, error_message(response)
        if status == 401:
            return AuthError(f"GitHub does not accept the token: {words}", hint=f"it may have expired: renew {_TOKENS}")
        if status == 403:
            accepted = response.headers.get("X-Accepted-GitHub-Permissions") or response.headers.get("X-Accepted-OAuth-Scopes")
            needs = f"; it needs {accepted}" if accepted else ""
            return AuthError(
                f"GitHub: this token may not {to} in {place}: {words}{needs}",
                hint="give the token pull-requests: write (and contents: write); see docs/pull-requests.md",
            )
        if status == 404:
            return AuthError(
                f"GitHub shows no repository {place} to this token, or no such pull request: {words}",
                hint="check forge.repository, and which repositories the token may see",
            )
        if status in (301, 302, 307, 308):
            return RefusedError(f"{place} has moved on GitHub", hint="write its new address into the Application's repoURL")
        if status >= 500:
            return UnreachableError(f"GitHub can't {to} in {place} now: {status} {words}", hint="run it again")
        return RefusedError(f"GitHub does not {to} in {place}: {status} {words}", hint="see docs/pull-requests.md")


def _pull_request(answer: Mapping[str, Any]) -> PullRequest:
    """`merge_commit_sha` is a trial merge until `merged_at` is set."""
    merged = bool(answer.get("merged_at"))
    return PullRequest(
        number=int(answer["number"]),
        url=str(answer["html_url"]),
        title=str(answer["title"]),
        body=str(answer.get("body") or ""),
        state=State.MERGED if merged else State(answer["state"]),
        head=object_id(answer["head"]["sha"]),
        merged=object_id(answer["merge_commit_sha"]) if merged else None,
        labels=frozenset(str(label["name"]) for label in answer["labels"]),
        id=str(answer["node_id"]),
    )


def _plain(text: str) -> str:
    """As a body is compared: GitHub's own editor writes CRLF."""
    return text.replace("\r\n", "\n").strip()
