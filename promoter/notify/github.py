"""GitHub: the commit's status `promoter/ENVIRONMENT`, and a deployment of the commit with its statuses.

Sources: GitHub's OpenAPI description, "commit statuses" (descriptions of 140 characters, 1,000 for a commit and context) and
"deployments". What is there already is asked for, so that another process goes on with the same deployment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote

from promoter.hosting.github import HEADERS
from promoter.models import NoticeKind
from promoter.notify.endpoint import Answer, Endpoint
from promoter.notify.notice import Notice, one_line
from promoter.transport.credential import Credential

_TASK = "promote"  # a job with `environment:` makes deployments of its own, whose task is `deploy`
_LONGEST_DESCRIPTION = 140
_STATUS = {
    NoticeKind.STARTED: "pending",
    NoticeKind.LIVE: "success",
    NoticeKind.SUPERSEDED: "error",
    NoticeKind.FAILED: "error",
}
_DEPLOYMENT = {
    NoticeKind.STARTED: ("in_progress",),
    NoticeKind.LIVE: ("success",),
    NoticeKind.RESTORED: ("failure", "inactive"),
    NoticeKind.SUPERSEDED: ("inactive",),
    NoticeKind.FAILED: ("error",),
}


def status(notice: Notice, place: str) -> dict[str, Any]:
    """The body of a commit status; `place` is the environment's name on GitHub."""
    body = {
        "state": _STATUS.get(notice.kind, "failure"),
        "context": f"promoter/{place}",
        "description": _description(notice.sentence),
    }
    target = notice.url("run", "Argo CD")
    return body | ({"target_url": target} if target else {})


def deployment(notice: Notice, place: str) -> dict[str, Any]:
    """The body of a deployment of exactly this commit, whatever its checks say: it was merged already."""
    return {
        "ref": notice.commit,
        "task": _TASK,
        "environment": place,
        "auto_merge": False,
        "required_contexts": [],
        "description": _description(notice.title),
        "payload": {"id": notice.id, "model": notice.model, "version": notice.version},
    }


def deployment_statuses(notice: Notice) -> list[dict[str, Any]]:
    """The bodies of the statuses that a deployment gets, in order."""
    body: dict[str, Any] = {"description": _description(notice.sentence)}
    for key, url in (("log_url", notice.url("run", "Argo CD")), ("environment_url", notice.url("Argo CD"))):
        body |= {key: url} if url else {}
    return [{"state": state, **body} for state in _DEPLOYMENT.get(notice.kind, ("failure",))]


@dataclass(frozen=True, slots=True)
class Target:
    """`api` is the root of GitHub's REST API; `token` is asked for at each notice, in the thread that sends it."""

    api: str
    owner: str
    name: str
    token: Callable[[], Credential]


@dataclass
class GitHubDeployments:
    """`repository` returns the repository of a notice; raises UsageError if that is not on GitHub.

    `shared`: environments that several models have: each of those gets a name of its own, for GitHub takes a newer deployment
    of an environment for the end of the one before.
    """

    repository: Callable[[str], Target]
    deployments: bool = True
    shared: frozenset[str] = frozenset()
    name: str = "GitHub"
    reports_start: ClassVar[bool] = True
    can_be_asked: ClassVar[bool] = True

    def send(self, notice: Notice) -> str:
        calls = _Calls(self.repository(notice.repository))
        if not notice.commit:  # a test
            return calls.reached()
        place = f"{notice.environment}/{notice.model}" if notice.environment in self.shared else notice.environment
        wanted = status(notice, place)
        news = calls.status(notice.commit, wanted)
        number = calls.deployment(notice, place, news=news) if self.deployments else ""
        return f"status {wanted['state']}{'' if news else ' already'}" + (f", deployment {number}" if number else "")


class _Calls:
    """The requests about one notice."""

    def __init__(self, repository: Target) -> None:
        self._endpoint = Endpoint("GitHub", repository.api, HEADERS)
        self._token = repository.token()
        self._path = f"/repos/{quote(repository.owner)}/{quote(repository.name)}"

    def reached(self) -> str:
        return f"{self._ask('GET', '').get('full_name')} is there; whether the token may write shows with the first promotion"

    def status(self, commit: str, wanted: dict[str, Any]) -> bool:
        """Whether the status differed before."""
        there = self._ask("GET", f"/commits/{commit}/statuses", params={"per_page": "100"})
        same = [one for one in _objects(there) if one.get("context") == wanted["context"]]  # the newest first
        if same and all(same[0].get(key) == wanted[key] for key in ("state", "description")):
            return False
        self._ask("POST", f"/statuses/{commit}", body=wanted)
        return True

    def deployment(self, notice: Notice, place: str, *, news: bool) -> str:
        """The deployment's number. Without news only a missing deployment is made good."""
        params = {"sha": notice.commit, "environment": place, "task": _TASK, "per_page": "1"}
        there = _objects(self._ask("GET", "/deployments", params=params))
        made = there[0] if there else self._ask("POST", "/deployments", body=deployment(notice, place)).value
        number = str(made.get("id")) if isinstance(made, dict) else ""
        for wanted in deployment_statuses(notice) if news or not there else ():
            self._ask("POST", f"/deployments/{number}/statuses", body=wanted)
        return number

    def _ask(self, method: str, path: str, *, body: Any = None, params: dict[str, str] | None = None) -> Answer:
        retry_lost = method == "GET"
        answer = self._endpoint.send(
            method, self._path + path, body=body, params=params, token=self._token, retry_lost=retry_lost
        )
        if not answer.ok:
            raise self._endpoint.refusal(answer, str(answer.get("message") or answer.text))
        return answer


def _description(text: str) -> str:
    """Without what lies above U+FFFF, for which GitHub refuses a description."""
    return one_line("".join(char if ord(char) < 0x10000 else "\ufffd" for char in text), _LONGEST_DESCRIPTION)


def _objects(answer: Answer) -> list[dict[str, Any]]:
    value = answer.value
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
