"""Azure DevOps Services and Server: pull requests by REST.

Sources: the published specification (git and policy, 7.1). What it does not say: a token that is not accepted gets a sign-in
page with status 203, or a redirect to one; descriptions are cut in lists, and have 4,000 characters at most.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.hosting.answers import error_message, json_of, object_id, rate_limit
from promoter.hosting.forge.seam import GATES_GENRE, GATES_NAME, Check, Draft, GatesStatus, PullRequest, Standing, State
from promoter.hosting.hosts import Address
from promoter.hosting.tokens import names
from promoter.models import ForgeKind, MergeMethod
from promoter.transport.boundary import odd_answers_are_errors, reading
from promoter.transport.credential import Credential
from promoter.transport.session import Authorization, Http

if TYPE_CHECKING:
    import requests

_API, _POLICY_API = {"api-version": "7.1"}, {"api-version": "7.1-preview.1"}
_STATES = {"active": State.OPEN, "completed": State.MERGED, "abandoned": State.CLOSED}
_STRATEGIES = {MergeMethod.MERGE: "noFastForward", MergeMethod.SQUASH: "squash", MergeMethod.REBASE: "rebase"}
_IDENTITY = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TOKENS = names(ForgeKind.AZURE_DEVOPS)
_FOR_CHANGES, _REJECTED, _APPROVING = -5, -10, (5, 10)  # votes; 5 is with suggestions
_CHECKS = ("0609b952-1397-4640-95ec-e00a01b2c241", "cbdc66da-9728-4af8-aada-9a5a32e4a226")  # policy types: Build, Status


@odd_answers_are_errors
class AzureDevOpsPullRequests:
    """The pull requests of one repository on Azure DevOps: see `Forge`."""

    name = "Azure DevOps"
    longest_body = 4_000

    def __init__(self, address: Address, token: Callable[[], Credential], sleep: Callable[[float], None]) -> None:
        self._http = Http(self.name, address.api_url, auth=Authorization(token), sleep=sleep, rate_limit=rate_limit)
        self._address = address
        self._project = f"/{quote(address.owner)}"
        self._pulls = f"{self._project}/_apis/git/repositories/{quote(address.repository)}/pullrequests"

    def reference(self, number: int) -> str:
        return f"!{number}"

    def pull_requests(self, branch: str, base: str) -> list[PullRequest]:
        wanted = {"sourceRefName": _ref(branch), "targetRefName": _ref(base), "status": "all"}
        found = self._ask("GET", self._pulls, params={f"searchCriteria.{key}": value for key, value in wanted.items()})["value"]
        numbers = sorted((int(one["pullRequestId"]) for one in found), reverse=True)
        return [self._get(number) for number in numbers[:2]]

    def open(self, draft: Draft) -> PullRequest:
        asked = {
            "sourceRefName": _ref(draft.branch),
            "targetRefName": _ref(draft.base),
            "title": draft.title,
            "description": draft.body,
            "labels": [{"name": label} for label in draft.labels],
            "reviewers": [{"id": id} for id in _identities(draft.reviewers)],
            "isDraft": draft.draft,
        }
        try:
            with reading(self._http):
                return self._pull_request(self._ask("POST", self._pulls, json=asked, to="open a pull request"))
        except (RefusedError, UnreachableError):
            # TF401179 "an active pull request already exists"; or the answer got lost on its way
            found = next((one for one in self.pull_requests(draft.branch, draft.base) if one.state is State.OPEN), None)
            if found is None:
                raise
            return self.update(found, draft)

    def update(self, found: PullRequest, draft: Draft) -> PullRequest:
        path, updated = f"{self._pulls}/{found.number}", found
        if (found.title, found.body.strip()) != (draft.title, draft.body.strip()):
            asked = {"title": draft.title, "description": draft.body}
            updated = self._pull_request(self._ask("PATCH", path, json=asked, to="edit a pull request"))
        for label in draft.labels:
            if label not in found.labels:
                self._ask("POST", f"{path}/labels", json={"name": label}, to="label a pull request")
        if draft.reviewers:
            known = {str(one["id"]).lower() for one in self._ask("GET", f"{path}/reviewers")["value"]}
            for id in _identities(draft.reviewers):
                if id.lower() not in known:
                    self._ask("PUT", f"{path}/reviewers/{id}", json={"id": id, "vote": 0}, to="ask for reviews")
        return updated

    def close(self, number: int) -> None:
        self._ask("PATCH", f"{self._pulls}/{number}", json={"status": "abandoned"}, to="close a pull request")

    def comment(self, number: int, text: str) -> None:
        path = f"{self._pulls}/{number}/threads"
        threads = self._ask("GET", path)["value"]
        said_before = {str(one.get("content")) for thread in threads for one in thread.get("comments") or ()}
        if text not in said_before:
            comment = {"parentCommentId": 0, "content": text, "commentType": "text"}
            self._ask("POST", path, json={"comments": [comment], "status": "closed"}, to="comment on a pull request")

    def show_gates(self, found: PullRequest, status: GatesStatus) -> None:
        """Of the newest iteration: a policy that resets the status when there are new changes asks for one of that."""
        path = f"{self._pulls}/{found.number}"
        context = {"genre": GATES_GENRE, "name": GATES_NAME}
        wanted = {
            "state": "succeeded" if status.passed else "failed",
            "description": status.words,
            "iterationId": max(int(one["id"]) for one in self._ask("GET", f"{path}/iterations")["value"]),
        }
        known = [one for one in self._ask("GET", f"{path}/statuses")["value"] if (one.get("context") or {}) == context]
        newest: Mapping[str, Any] = max(known, key=lambda one: int(one["id"]), default={})
        if any(newest.get(key) != value for key, value in wanted.items()):
            self._ask("POST", f"{path}/statuses", json=wanted | {"context": context}, to="set a pull request's status")

    def merge_when_ready(self, found: PullRequest, method: MergeMethod, subject: str, body: str) -> str:
        options: dict[str, Any] = {"mergeStrategy": _STRATEGIES[method], "deleteSourceBranch": True}
        if method is not MergeMethod.REBASE:
            options["mergeCommitMessage"] = f"{subject}\n\n{body}"
        asked = {"autoCompleteSetBy": {"id": found.id}, "completionOptions": options}
        try:
            self._ask("PATCH", f"{self._pulls}/{found.number}", json=asked, to="set a pull request to auto-complete")
        except RefusedError as error:
            return error.message
        return ""

    def standing(self, number: int) -> Standing:
        answer = self._ask("GET", f"{self._pulls}/{number}")
        found = self._numbered(answer, number)
        if found.state is not State.OPEN:
            return Standing(found)
        artifact = f"vstfs:///CodeReview/CodeReviewId/{answer['repository']['project']['id']}/{number}"
        path = f"{self._project}/_apis/policy/evaluations"
        evaluations = self._ask("GET", path, params={"artifactId": artifact} | _POLICY_API)["value"]
        required = [one for one in evaluations if _is_required_check(one)]
        return Standing(
            found,
            tuple(_check(one) for one in required if one.get("status") in ("rejected", "broken")),
            tuple(_check(one) for one in required if one.get("status") in ("queued", "running")),
            _blocked(answer),
            conflicts=answer.get("mergeStatus") == "conflicts",
        )

    def approvers(self, number: int) -> tuple[str, ...]:
        """Votes of persons: a group's is that of one of its members."""
        reviewers = self._ask("GET", f"{self._pulls}/{number}/reviewers")["value"]
        approving = (one for one in reviewers if int(one.get("vote") or 0) in _APPROVING and not one.get("isContainer"))
        return tuple(sorted(str(one.get("uniqueName") or one.get("displayName") or one["id"]) for one in approving))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _get(self, number: int) -> PullRequest:
        return self._numbered(self._ask("GET", f"{self._pulls}/{number}"), number)

    def _numbered(self, answer: Mapping[str, Any], number: int) -> PullRequest:
        found = self._pull_request(answer)
        if found.number != number:
            raise ValueError(f"it is about pull request !{found.number}, not !{number}")
        return found

    def _pull_request(self, answer: Mapping[str, Any]) -> PullRequest:
        """`lastMergeCommit` is a trial merge until the status is completed."""
        number, state = int(answer["pullRequestId"]), _STATES[str(answer["status"])]
        owner, repository = quote(self._address.owner), quote(self._address.repository)
        merge = answer.get("lastMergeCommit") if state is State.MERGED else None
        source = answer.get("lastMergeSourceCommit")
        return PullRequest(
            number=number,
            url=f"{self._address.api_url}/{owner}/_git/{repository}/pullrequest/{number}",
            title=str(answer["title"]),
            body=str(answer.get("description") or ""),
            state=state,
            head=object_id(source["commitId"]) if source else "",
            merged=object_id(merge["commitId"]) if merge else None,
            labels=frozenset(str(label["name"]) for label in answer.get("labels") or () if label.get("active", True)),
            id=str(answer["createdBy"]["id"]),
        )

    def _ask(
        self, method: str, path: str, *, json: Any = None, params: Mapping[str, str] = _API, to: str = "see pull requests"
    ) -> Any:
        response = self._http.request(method, path, json=json, params={**_API, **params})
        body = json_of(response)
        if response.status_code in (200, 201) and body is not None:
            return body
        raise self._refusal(response, to)

    def _refusal(self, response: requests.Response, to: str) -> PromoterError:
        """The error for an unexpected answer; `to` is what was tried."""
        place, status, words = self._address.place, response.status_code, error_message(response)
        if status in (200, 201, 203, 302, 401):
            return AuthError(
                f"Azure DevOps does not accept the token, and shows a sign-in page ({status})",
                hint=f"it may have expired, or be of another organization: renew {_TOKENS}",
            )
        if status == 403 or "TF401027" in words:
            return AuthError(
                f"Azure DevOps: this token may not {to} in {place}: {words}",
                hint="a token needs Code (read & write), its identity the permission in the repository's security settings",
            )
        if status == 404:
            return AuthError(
                f"Azure DevOps shows no repository {place} to this token, or no such pull request: {words}",
                hint="check forge.repository, and that the token's identity may read the project",
            )
        if status >= 500:
            return UnreachableError(f"Azure DevOps can't {to} in {place} now: {status} {words}", hint="run it again")
        return RefusedError(f"Azure DevOps does not {to} in {place}: {status} {words}", hint="see docs/pull-requests.md")


def _identities(reviewers: tuple[str, ...]) -> tuple[str, ...]:
    for one in reviewers:
        if not _IDENTITY.fullmatch(one):
            raise UsageError(
                f"reviewer {one!r} is not the id of an identity in Azure DevOps",
                hint="write ids (GUIDs) under pull-request.reviewers; required reviewers are better set by a branch policy",
            )
    return reviewers


def _ref(branch: str) -> str:
    return f"refs/heads/{branch}"


def _is_required_check(evaluation: Mapping[str, Any]) -> bool:
    """Leaves out the policies that wait for people: a reviewer may change their vote."""
    configuration = evaluation.get("configuration") or {}
    required = configuration.get("isBlocking") and configuration.get("isEnabled", True)
    return bool(required) and (configuration.get("type") or {}).get("id") in _CHECKS


def _check(evaluation: Mapping[str, Any]) -> Check:
    configuration = evaluation["configuration"]
    named = (configuration.get("settings") or {}).get("displayName")
    return Check(str(named or (configuration.get("type") or {}).get("displayName") or "policy"))


def _blocked(answer: Mapping[str, Any]) -> str:
    votes = [int(one.get("vote") or 0) for one in answer.get("reviewers") or ()]
    if answer.get("isDraft"):
        return "it is a draft"
    if _REJECTED in votes:
        return "a reviewer rejected it"
    return "a reviewer waits for its author" if _FOR_CHANGES in votes else str(answer.get("mergeFailureMessage") or "")
