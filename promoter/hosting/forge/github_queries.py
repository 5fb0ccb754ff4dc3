"""The two GraphQL documents, and how the answer to the second one is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from promoter.hosting.answers import object_id
from promoter.hosting.forge.seam import Check, PullRequest, Standing, State

AUTO_MERGE = """\
mutation ($input: EnablePullRequestAutoMergeInput!) {
  enablePullRequestAutoMerge(input: $input) { pullRequest { number } }
}"""

# REST does not report whether a check is required, nor the place in a merge queue.
STANDING = """\
query ($owner: String!, $name: String!, $number: Int!) {
  repository(owner: $owner, name: $name) {
    pullRequest(number: $number) {
      id number url title body state headRefOid isDraft mergeable mergeStateStatus reviewDecision
      mergeCommit { oid }
      mergeQueueEntry { position }
      commits(last: 1) { nodes { commit { statusCheckRollup { contexts(first: 100) { nodes {
        __typename
        ... on CheckRun { name status conclusion detailsUrl isRequired(pullRequestNumber: $number) }
        ... on StatusContext { context state targetUrl isRequired(pullRequestNumber: $number) }
      } } } } } }
    }
  }
}"""

_FAILED = frozenset({"FAILURE", "TIMED_OUT", "CANCELLED", "ACTION_REQUIRED", "STARTUP_FAILURE", "STALE", "ERROR"})
_WAITS_FOR_REVIEW = {
    "CHANGES_REQUESTED": "a reviewer asked for changes",
    "REVIEW_REQUIRED": "a review is required",
}


def standing_of(answer: Mapping[str, Any], errors: str) -> Standing:
    """`answer` is the pull request; `errors` what GitHub could not say of it."""
    failed, pending = [], []
    for context in _contexts(answer):
        if not context["isRequired"]:
            continue
        is_run = context["__typename"] == "CheckRun"
        check = Check(
            str(context["name" if is_run else "context"]), str(context["detailsUrl" if is_run else "targetUrl"] or "")
        )
        result = context["conclusion" if is_run else "state"]
        if result in _FAILED:
            failed.append(check)
        elif result in (None, "PENDING", "EXPECTED"):
            pending.append(check)
    queue = answer.get("mergeQueueEntry")
    return Standing(
        _pull_request(answer),
        tuple(failed),
        tuple(pending),
        _blocked(answer, errors),
        conflicts=answer["mergeable"] == "CONFLICTING",
        queue=int(queue["position"]) if queue else None,
    )


def _blocked(answer: Mapping[str, Any], errors: str) -> str:
    if answer["isDraft"]:
        return "it is a draft"
    if review := _WAITS_FOR_REVIEW.get(str(answer.get("reviewDecision"))):
        return review
    if answer["mergeStateStatus"] == "BEHIND":
        return "the branch has to be updated before it may be merged"
    return errors


def _contexts(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []
    for node in answer["commits"]["nodes"] or ():
        rollup = node and node["commit"]["statusCheckRollup"]
        found += [context for context in (rollup["contexts"]["nodes"] if rollup else ()) if context]
    return found


def _pull_request(answer: Mapping[str, Any]) -> PullRequest:
    merge = answer.get("mergeCommit")
    state = State(str(answer["state"]).lower())
    return PullRequest(
        number=int(answer["number"]),
        url=str(answer["url"]),
        title=str(answer["title"]),
        body=str(answer["body"]),
        state=state,
        head=object_id(answer["headRefOid"]),
        merged=object_id(merge["oid"]) if merge and state is State.MERGED else None,
        id=str(answer["id"]),
    )
