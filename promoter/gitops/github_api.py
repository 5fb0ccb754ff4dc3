"""Commits made by GitHub itself (GraphQL, createCommitOnBranch): signed with its key, so "Verified" with none on the runner."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from promoter.errors import AuthError, RefusedError, UnexpectedAnswerError, UnreachableError, UsageError
from promoter.gitops.credentials import api_token
from promoter.gitops.failures import GitError, Kind
from promoter.hosting import github
from promoter.hosting.address import host_and_path
from promoter.hosting.answers import error_message, object_id
from promoter.hosting.hosts import HOSTS
from promoter.hosting.tokens import names
from promoter.models import ForgeKind
from promoter.transport.boundary import reading
from promoter.transport.session import Http, Limits, RateLimitedError

_MUTATION = "mutation($input: CreateCommitOnBranchInput!) { createCommitOnBranch(input: $input) { commit { oid } } }"
# A repeated request can't commit twice: expectedHeadOid lets only the first one through.
_LIMITS = Limits(total=60.0, rate_limits=0.0)
_NEEDED = "the token needs write access to the repository's contents (contents: write)"


class GitHubCommits:
    """`branch` of the repository at `url`, an address that git could use too.

    Raises:
        UsageError: `url` is not the address of a repository on GitHub.
    """

    def __init__(self, url: str, branch: str, environ: Mapping[str, str]) -> None:
        host, path = host_and_path(url)
        self.repository = "/".join(path)
        if not HOSTS[ForgeKind.GITHUB].has(host, environ) or self.repository.count("/") != 1:
            raise UsageError(
                f"`git.commit: github-api` needs a repository on GitHub, not {url}",
                hint="set `git.commit: push`, or name your GitHub Enterprise Server in GITHUB_SERVER_URL",
            )
        self._url, self._branch, self._environ = url, branch, environ

    def commit(self, tip: str, files: Mapping[str, bytes], message: bytes, branch: str = "") -> str:
        """The id of a new commit of these files, the child of `tip` and the tip of the branch (or another) now.

        Raises:
            GitError: the branch is somewhere else than `tip`, or GitHub did not answer.
            AuthError, RefusedError: GitHub: this token may not commit, or nobody commit to this branch.
        """
        branch = branch or self._branch
        headline, _, body = message.decode().partition("\n")
        additions = [{"path": path, "contents": base64.b64encode(content).decode()} for path, content in files.items()]
        wanted = {
            "branch": {"repositoryNameWithOwner": self.repository, "branchName": branch},
            "expectedHeadOid": tip,
            "message": {"headline": headline, "body": body.strip("\n")},
            "fileChanges": {"additions": additions},
        }
        http = self._http()
        try:
            with reading(http):
                answer = self._asked(http, {"query": _MUTATION, "variables": {"input": wanted}})
                for error in answer.get("errors") or ():
                    raise self._refusal(branch, str(error.get("type", "")), " ".join(str(error.get("message", "")).split()))
                return object_id(answer["data"]["createCommitOnBranch"]["commit"]["oid"])
        except UnexpectedAnswerError as error:  # whether it was committed is not known
            raise _unanswered(error.message) from None

    def _http(self) -> Http:
        token = api_token(self._url, self._environ)
        if token is None:
            raise AuthError("no token for GitHub's API", hint=f"set {names(ForgeKind.GITHUB)}")
        address = self._environ.get("GITHUB_GRAPHQL_URL") or github.graphql_url(github.api_url(self._environ))
        return github.connect(address, lambda: token, limits=_LIMITS)

    def _asked(self, http: Http, query: object) -> dict[str, Any]:
        try:
            response = http.request("POST", "", json=query, retry=True)
        except RateLimitedError:
            raise
        except UnreachableError as error:
            raise _unanswered(error.message) from None
        if response.status_code == 401:
            raise AuthError(f"GitHub does not accept the token for {self.repository}", hint="it may have ended: renew it")
        if response.status_code == 403:
            raise AuthError(f"GitHub refuses a commit to {self.repository}: {error_message(response)}", hint=_NEEDED)
        if not response.ok:
            raise GitError("push", 1, "", f"fatal: The requested URL returned error: {response.status_code}")
        return dict(response.json())

    def _refusal(self, branch: str, kind: str, message: str) -> Exception:
        place = f"{self.repository} (branch {branch})"
        if kind == "STALE_DATA":
            return GitError("push", 1, "", f"error: stale info: {message}")
        if kind in ("FORBIDDEN", "NOT_FOUND", "INSUFFICIENT_SCOPES"):
            return AuthError(f"this token may not commit to {place} (GitHub: {message})", hint=_NEEDED)
        if GitError("push", 1, "", message).kind is Kind.POLICY:
            hint = "set `write: pull-request` for this environment, or let this App or user bypass the rule"
            return RefusedError(f"{place} does not accept a direct commit: {message}", hint=hint)
        if not kind:  # "Something went wrong while executing your query": whether it was committed is not known
            return _unanswered(message)
        return RefusedError(f"GitHub makes no commit on {place}: {message} ({kind})", hint="set `git.commit: push`")


def _unanswered(message: str) -> GitError:
    return GitError("push", 1, "", f"fatal: unable to access GitHub's API: {message}")
