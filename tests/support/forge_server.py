"""GitHub and Azure DevOps over real HTTP, in front of a real bare repository.

Every request is held against the forge's published description, and every answer as well: what does not fit is in `wrong`, which
has to be empty in the end. GraphQL documents are executed by the reference implementation against GitHub's schema.
"""

from __future__ import annotations

import base64
import http.server
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from requests.structures import CaseInsensitiveDict

from tests.support.forge_deployments import Deployments
from tests.support.forge_repository import Conflict, ForgeRepository, Pull
from tests.support.forge_schema import DATA, Description, Operation, description

TOKEN = "a-token-that-must-never-be-seen"
ORGANIZATION = "org"
IDENTITY = "7b3c2f0e-1111-4222-8333-944445555666"
_ISO = "2026-11-01T09:00:00Z"
_SIGN_IN = "<html><title>Azure DevOps Services | Sign In</title></html>"


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Fault:
    """What the next requests get instead: `method` and what the path ends with. `lost`: carried out, but the answer never comes.

    `before` and `after` happen before the answer, and after the request is carried out where it is.
    """

    method: str
    suffix: str
    answer: Answer
    times: int = 1
    lost: bool = False
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None


class ForgeServer:
    """Both forges for one repository: GitHub's API root is `github`, the Azure DevOps organization `azure`.

    `requires_gates`: without a good status promoter/gates nothing is merged by the API.
    """

    def __init__(self, repository: ForgeRepository) -> None:
        self.repository, self.deployments = repository, Deployments()
        self.requires_gates = False
        self.requests: list[tuple[str, str]] = []
        self.authorizations: list[str] = []
        self.wrong: list[str] = []
        self.faults: list[Fault] = []
        self._meanwhile: list[tuple[str, str, Callable[[], object]]] = []
        self.lock = threading.RLock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"owner": self}))
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.github, self.azure = f"{self.url}/api/v3", f"{self.url}/{ORGANIZATION}"
        self._forges: list[_GitHub | _Azure] = [_GitHub(self), _Azure(self)]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    def __enter__(self) -> ForgeServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def pulls(self) -> list[Pull]:
        return self.repository.pulls

    def meanwhile(self, method: str, suffix: str, act: Callable[[], object]) -> None:
        """Something happens just before the next such request is answered as ever."""
        self._meanwhile.append((method, suffix, act))

    def fault(self, method: str, suffix: str, answer: Answer, **more: Any) -> None:
        self.faults.append(Fault(method, suffix, answer, **more))

    def gates(self, pull: Pull) -> tuple[str, str] | None:
        """The status promoter/gates of what a pull request proposes: state and words, None if it has none."""
        azure = [one for one in pull.statuses if one["context"] == {"genre": "promoter", "name": "gates"}]
        head = self.repository.head_of(pull)
        github = [one for one in self.deployments.statuses[head] if one["context"] == "promoter/gates"]
        current = [one for one in azure if pull.iterations[one["iterationId"] - 1] == head]
        return next(((one["state"], one["description"]) for one in reversed([*github, *current])), None)

    def may_be_merged(self, pull: Pull) -> bool:
        """As the branch's protection has it, which administrators may pass by."""
        return not self.requires_gates or (self.gates(pull) or ("",))[0] in ("success", "succeeded")

    def asked(self, method: str, suffix: str = "") -> int:
        return sum(1 for one, path in self.requests if one == method and path.endswith(suffix))

    def answer(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer | None:
        """None: the connection is cut."""
        split = urlsplit(url)
        with self.lock:
            self.requests.append((method, split.path))
            self.authorizations.append(headers.get("Authorization", ""))
            for one in [one for one in self._meanwhile if one[0] == method and split.path.endswith(one[1])]:
                self._meanwhile.remove(one)
                one[2]()
            fault = next(
                (one for one in self.faults if one.times and (one.method, True) == (method, split.path.endswith(one.suffix))),
                None,
            )
            if fault:
                fault.times -= 1
                fault.before()
                if not fault.lost:
                    return fault.answer
            forge = self._forges[0 if split.path.startswith("/api/") else 1]
            answer = forge.serve(method, split.path, dict(parse_qsl(split.query)), headers, json.loads(body) if body else None)
            if fault:
                fault.after()
            return None if fault else answer

    def judge(self, described: Description, operation: Operation, answer: Answer) -> Answer:
        schema = operation.answers.get(str(answer.status))
        if schema is not None and (wrong := described.wrong(schema, answer.body)):
            self.wrong.append(f"answer of {operation.name}: {wrong}")
        return answer


class _Handler(http.server.BaseHTTPRequestHandler):
    owner: ForgeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        try:
            answer = self.owner.answer(self.command, self.path, CaseInsensitiveDict(self.headers.items()), body)
        except Exception as error:
            self.owner.wrong.append(f"{self.command} {self.path}: {error!r}")
            answer = Answer(500, {"message": repr(error)})
        if answer is None:
            self.close_connection = True
            return
        text = answer.body if isinstance(answer.body, str) else "" if answer.body is None else json.dumps(answer.body)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "text/html" if isinstance(answer.body, str) else "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = do_PATCH = do_PUT = _serve


class _GitHub:
    def __init__(self, server: ForgeServer) -> None:
        self._server, self._repository, self._described = server, server.repository, description("github")
        self._schema: Any = None

    def serve(self, method: str, path: str, query: dict[str, str], headers: Mapping[str, str], body: Any) -> Answer:
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return Answer(
                401, {"message": "Bad credentials", "documentation_url": "https://docs.github.com/rest", "status": "401"}
            )
        if path == "/api/graphql":
            return Answer(200, self._graphql(body))
        operation = self._described.find(method, path.removeprefix("/api/v3"))
        if operation is None:
            self._server.wrong.append(f"{method} {path} is not described")
            return Answer(404, {"message": "Not Found"})
        if wrong := self._described.wrong_request(operation, query, body):
            self._server.wrong.append(f"{operation.name}: {wrong}")
            return Answer(422, {"message": "Validation Failed", "errors": wrong})
        answer = self._carry_out(operation, query, body or {})
        schema = operation.answers.get(str(answer.status))
        if schema and answer.status < 300:
            answer = Answer(answer.status, self._described.sample(schema, answer.body))
        return self._server.judge(self._described, operation, answer)

    def _carry_out(self, operation: Operation, query: dict[str, str], body: dict[str, Any]) -> Answer:
        if self._server.deployments.serves(operation):
            return Answer(*self._server.deployments.carry_out(operation, query, body))
        number = int(operation.parameters.get("pull_number") or operation.parameters.get("issue_number") or 0)
        pull = self._repository.pull(number) if number else None
        method, path = operation.name.lower().split(" ")
        last = [part for part in path.split("/") if not part.startswith("{")][-1]
        act = getattr(self, f"_{method}_{last}", None)
        assert act, operation.name
        answer: Answer = act(pull, query, body) if pull else act(query, body)
        return answer

    def _get_pulls(self, query: dict[str, str], _: Any) -> Answer:
        owner, _, branch = query["head"].partition(":")
        assert owner
        found = [one for one in self._repository.pulls if (one.branch, one.base) == (branch, query["base"])]
        assert (query["state"], query["direction"]) == ("all", "desc")
        return Answer(200, [self._pull(one) for one in reversed(found)])

    def _post_pulls(self, _: Any, body: dict[str, Any]) -> Answer:
        problem = ""
        if not self._repository.head(body["head"]):
            problem = "head is invalid"
        elif self._repository.opened(body["head"], body["base"]):
            problem = f"A pull request already exists for org:{body['head']}."
        elif len(body["body"]) > 65_536:
            problem = "body is too long (maximum is 65536 characters)"
        if problem:
            error = {"resource": "PullRequest", "code": "custom", "message": problem}
            return Answer(
                422, {"message": "Validation Failed", "errors": [error], "documentation_url": "https://docs.github.com"}
            )
        number = len(self._repository.pulls) + 1
        made = Pull(number, body["head"], body["base"], body["title"], body["body"], body["draft"])
        return Answer(201, self._pull(self._repository.open(made)))

    def _patch_pulls(self, pull: Pull, _: Any, body: dict[str, Any]) -> Answer:
        pull.title, pull.body = body.get("title", pull.title), body.get("body", pull.body)
        if body.get("state") == "closed":
            self._repository.close(pull)
        return Answer(200, self._pull(pull))

    def _get_reviews(self, pull: Pull, *_: Any) -> Answer:
        voted = [{"user": {"login": who}, "state": state} for who, state in pull.votes]
        return Answer(200, [*({"user": {"login": one}} for one in pull.reviewed), *voted])

    def _get_requested_reviewers(self, pull: Pull, *_: Any) -> Answer:
        users = [{"login": one} for one in pull.reviewers if "/" not in one]
        return Answer(200, {"users": users, "teams": [{"slug": one[1:]} for one in pull.reviewers if one[0] == "/"]})

    def _post_requested_reviewers(self, pull: Pull, _: Any, body: dict[str, Any]) -> Answer:
        pull.reviewers += [*body["reviewers"], *(f"/{team}" for team in body["team_reviewers"])]
        return Answer(201, self._pull(pull))

    def _post_labels(self, pull: Pull, _: Any, body: dict[str, Any]) -> Answer:
        pull.labels += body["labels"]
        return Answer(200, [{"name": one} for one in pull.labels])

    def _get_comments(self, pull: Pull, *_: Any) -> Answer:
        return Answer(200, [{"body": one} for one in pull.comments])

    def _post_comments(self, pull: Pull, _: Any, body: dict[str, Any]) -> Answer:
        pull.comments.append(body["body"])
        return Answer(201, {"body": body["body"]})

    def _put_merge(self, pull: Pull, _: Any, body: dict[str, Any]) -> Answer:
        if body["sha"] != self._repository.head(pull.branch):
            return Answer(409, {"message": "Head branch was modified. Review and try the merge again."})
        if not self._server.may_be_merged(pull):
            return Answer(405, {"message": 'Required status check "promoter/gates" is expected or failing.'})
        message = f"{body['commit_title']}\n\n{body['commit_message']}" if "commit_title" in body else ""
        try:
            sha = self._repository.merge(pull, body["merge_method"], message)
        except Conflict:
            return Answer(405, {"message": "Pull Request is not mergeable"})
        return Answer(200, {"sha": sha, "merged": True, "message": "Pull Request successfully merged"})

    def _pull(self, pull: Pull) -> dict[str, Any]:
        merged = pull.state == "merged"
        return {
            "number": pull.number,
            "node_id": f"PR_{pull.number}",
            "html_url": f"{self._server.url}/org/repository/pull/{pull.number}",
            "title": pull.title,
            "body": pull.body,
            "draft": pull.draft,
            "state": "closed" if merged else pull.state,
            "merged_at": _ISO if merged else None,
            "merge_commit_sha": pull.merged or "f" * 40,  # before a merge it is a trial of one
            "head": {"ref": pull.branch, "sha": self._repository.head_of(pull)},
            "base": {"ref": pull.base, "sha": self._repository.head(pull.base)},
            "labels": [{"name": one} for one in pull.labels],
            "created_at": _ISO,
            "updated_at": _ISO,
        }

    # -- GraphQL ------------------------------------------------------------------------------------------------------

    def _graphql(self, body: dict[str, Any]) -> dict[str, Any]:
        graphql = pytest.importorskip("graphql", reason="graphql-core is missing: it comes with mlflow")
        self._schema = self._schema or graphql.build_schema((DATA / "github.graphql").read_text())
        if wrong := graphql.validate(self._schema, graphql.parse(body["query"])):
            self._server.wrong.append(f"GraphQL: {[error.message for error in wrong]}")
        roots = {"repository": self._repository_node, "enablePullRequestAutoMerge": self._auto_merge}
        result = graphql.graphql_sync(self._schema, body["query"], roots, variable_values=body["variables"])
        errors = [{"message": error.message} for error in result.errors or ()]
        return {"data": result.data, **({"errors": errors} if errors else {})}

    def _repository_node(self, _: Any, **__: Any) -> dict[str, Any]:
        return {"pullRequest": lambda _, number: self._node(self._repository.pull(number))}

    def _node(self, pull: Pull) -> dict[str, Any]:
        open_ = pull.state == "open"
        contexts = [
            {
                "__typename": "CheckRun",
                "name": one.name,
                "status": "COMPLETED" if one.result else "IN_PROGRESS",
                "conclusion": one.result.upper() if one.result else None,
                "detailsUrl": f"{self._server.url}/checks/{one.name}",
                "isRequired": lambda _, one=one, **__: one.required,
            }
            for one in pull.checks
        ]
        if gates := self._server.gates(pull):
            contexts.append(
                {
                    "__typename": "StatusContext",
                    "context": "promoter/gates",
                    "state": gates[0].upper(),
                    "targetUrl": None,
                    "isRequired": lambda *_, **__: self._server.requires_gates,
                }
            )
        rollup = {"contexts": lambda *_, **__: {"nodes": contexts}} if contexts else None
        return {
            "id": f"PR_{pull.number}",
            "number": pull.number,
            "url": f"{self._server.url}/org/repository/pull/{pull.number}",
            "title": pull.title,
            "body": pull.body,
            "state": pull.state.upper(),
            "headRefOid": self._repository.head_of(pull),
            "isDraft": pull.draft,
            "mergeable": "CONFLICTING" if open_ and self._repository.conflicts(pull) else "MERGEABLE",
            "mergeStateStatus": "BLOCKED" if self._repository.protected else "CLEAN",
            "reviewDecision": "REVIEW_REQUIRED" if self._repository.protected else None,
            "mergeCommit": {"oid": pull.merged} if pull.merged else None,
            "mergeQueueEntry": {"position": pull.queue} if pull.queue else None,
            "commits": lambda *_, **__: {"nodes": [{"commit": {"statusCheckRollup": rollup}}]},
        }

    def _auto_merge(self, _: Any, input: dict[str, Any]) -> dict[str, Any]:
        pull = self._repository.pull(int(input["pullRequestId"].removeprefix("PR_")))
        if input["expectedHeadOid"] != self._repository.head(pull.branch):
            raise ValueError("The head oid does not match")
        if not self._repository.protected:
            raise ValueError("Pull request Pull request is in clean status")
        message = f"{input['commitHeadline']}\n\n{input['commitBody']}" if "commitHeadline" in input else ""
        pull.when_ready = lambda: self._repository.merge(pull, input["mergeMethod"].lower(), message)
        return {"pullRequest": {"number": pull.number}}


class _Azure:
    """It answers lists as {count, value}, a thing its specification does not mention."""

    def __init__(self, server: ForgeServer) -> None:
        self._server, self._repository, self._described = server, server.repository, description("azure_devops")

    def serve(self, method: str, path: str, query: dict[str, str], headers: Mapping[str, str], body: Any) -> Answer:
        basic = base64.b64encode(f":{TOKEN}".encode()).decode()
        if headers.get("Authorization") != f"Basic {basic}":
            return Answer(203, _SIGN_IN)
        operation = self._described.find(method, path)
        if operation is None:
            self._server.wrong.append(f"{method} {path} is not described")
            return Answer(404, {"message": "The resource cannot be found."})
        if wrong := self._described.wrong_request(operation, query, body):
            self._server.wrong.append(f"{operation.name}: {wrong}")
            return Answer(400, {"message": str(wrong)})
        status, value = self._carry_out(operation, query, body or {})
        if status >= 300:
            return Answer(status, {"$id": "1", "message": value, "typeKey": "GitException", "errorCode": 0, "eventId": 3000})
        schema = operation.answers["200"]
        if wrong := self._described.wrong(schema, value):
            self._server.wrong.append(f"answer of {operation.name}: {wrong}")
        return Answer(status, {"count": len(value), "value": value} if isinstance(value, list) else value)

    def _carry_out(self, operation: Operation, query: dict[str, str], body: dict[str, Any]) -> tuple[int, Any]:
        named = operation.parameters
        pull = self._repository.pull(int(named["pullRequestId"])) if "pullRequestId" in named else None
        method, what = operation.name.split(" ", 1)
        last = what.rpartition("/")[2].strip("{}").lower()
        act = getattr(self, f"_{method.lower()}_{last}")
        answer: tuple[int, Any] = act(pull, body, named.get("reviewerId")) if pull else act(query, body)
        return answer

    def _get_pullrequests(self, query: dict[str, str], _: Any) -> tuple[int, Any]:
        branch, base = (
            query[f"searchCriteria.{key}"].removeprefix("refs/heads/") for key in ("sourceRefName", "targetRefName")
        )
        found = [one for one in self._repository.pulls if (one.branch, one.base) == (branch, base)]
        cut = [{**self._pull(one), "description": one.body[:400]} for one in reversed(found)]
        return 200, cut

    def _post_pullrequests(self, _: Any, body: dict[str, Any]) -> tuple[int, Any]:
        branch, base = (body[key].removeprefix("refs/heads/") for key in ("sourceRefName", "targetRefName"))
        if self._repository.opened(branch, base):
            return 409, "TF401179: An active pull request for the source and target branch already exists."
        if len(body["description"]) > 4000:
            return 400, "TF401394: The description is too long."
        made = Pull(len(self._repository.pulls) + 1, branch, base, body["title"], body["description"], body["isDraft"])
        made.labels = [one["name"] for one in body["labels"]]
        made.reviewers = [one["id"] for one in body["reviewers"]]
        return 201, self._pull(self._repository.open(made))

    def _get_pullrequestid(self, pull: Pull, *_: Any) -> tuple[int, Any]:
        return 200, self._pull(pull)

    def _patch_pullrequestid(self, pull: Pull, body: dict[str, Any], _: Any) -> tuple[int, Any]:
        if pull.state != "open":
            return 409, "TF401181: The pull request cannot be edited due to its state."
        pull.title, pull.body = body.get("title", pull.title), body.get("description", pull.body)
        if body.get("status") == "abandoned":
            self._repository.close(pull)
        if "autoCompleteSetBy" in body:
            assert body["autoCompleteSetBy"] == {"id": IDENTITY}
            options = body["completionOptions"]
            method = {"squash": "squash", "rebase": "rebase", "noFastForward": "merge"}[options["mergeStrategy"]]
            self._repository.deletes_branches = options["deleteSourceBranch"]
            pull.when_ready = lambda: self._repository.merge(pull, method, options.get("mergeCommitMessage", ""))
            if not self._repository.protected:
                pull.when_ready()
        return 200, self._pull(pull)

    def _post_labels(self, pull: Pull, body: dict[str, Any], _: Any) -> tuple[int, Any]:
        pull.labels.append(body["name"])
        return 200, {"name": body["name"], "active": True}

    def _get_reviewers(self, pull: Pull, *_: Any) -> tuple[int, Any]:
        votes = {"APPROVED": 10, "CHANGES_REQUESTED": -10}
        last = {who: votes.get(state, 0) for who, state in pull.votes}
        people = [{"id": IDENTITY, "uniqueName": who, "vote": vote} for who, vote in last.items()]
        team = {"id": IDENTITY, "displayName": "[project]\\Reviewers", "vote": 10, "isContainer": True}
        return 200, [*({"id": one, "vote": 0} for one in pull.reviewers), *people, *([team] if people else [])]

    def _put_reviewerid(self, pull: Pull, body: dict[str, Any], id: str | None) -> tuple[int, Any]:
        assert body["id"] == id
        pull.reviewers.append(str(id))
        return 200, body

    def _get_threads(self, pull: Pull, *_: Any) -> tuple[int, Any]:
        return 200, [{"id": number, "comments": [{"id": 1, "content": one}]} for number, one in enumerate(pull.comments)]

    def _post_threads(self, pull: Pull, body: dict[str, Any], _: Any) -> tuple[int, Any]:
        pull.comments += [one["content"] for one in body["comments"]]
        return 200, {"id": len(pull.comments), "comments": body["comments"]}

    def _get_iterations(self, pull: Pull, *_: Any) -> tuple[int, Any]:
        head = self._repository.head_of(pull)
        if head not in pull.iterations[-1:]:
            pull.iterations.append(head)
        found = enumerate(pull.iterations, 1)
        return 200, [{"id": number, "sourceRefCommit": {"commitId": one}} for number, one in found]

    def _get_statuses(self, pull: Pull, *_: Any) -> tuple[int, Any]:
        return 200, pull.statuses

    def _post_statuses(self, pull: Pull, body: dict[str, Any], _: Any) -> tuple[int, Any]:
        pull.statuses.append({**body, "id": len(pull.statuses) + 1})
        return 200, pull.statuses[-1]

    def _get_evaluations(self, query: dict[str, str], _: Any) -> tuple[int, Any]:
        pull = self._repository.pull(int(query["artifactId"].rpartition("/")[2]))
        build = {"id": "0609b952-1397-4640-95ec-e00a01b2c241", "displayName": "Build"}
        people = {"id": "fa4e907d-c16b-4a4c-9dfa-4906e5d171dd", "displayName": "Minimum number of reviewers"}
        statuses = {None: "running", "success": "approved", "failure": "rejected"}

        def one(kind: dict[str, str], name: str, status: str, *, required: bool = True) -> dict[str, Any]:
            configuration = {
                "id": 1,
                "type": kind,
                "isBlocking": required,
                "isEnabled": True,
                "settings": {"displayName": name},
            }
            return {"configuration": configuration, "status": status}

        found = [one(build, check.name, statuses[check.result], required=check.required) for check in pull.checks]
        return 200, [*found, one(people, "Minimum number of reviewers", "rejected")]

    def _pull(self, pull: Pull) -> dict[str, Any]:
        conflicts = pull.state == "open" and self._repository.conflicts(pull)
        return {
            "pullRequestId": pull.number,
            "status": {"open": "active", "closed": "abandoned", "merged": "completed"}[pull.state],
            "title": pull.title,
            "description": pull.body,
            "isDraft": pull.draft,
            "sourceRefName": f"refs/heads/{pull.branch}",
            "targetRefName": f"refs/heads/{pull.base}",
            "createdBy": {"id": IDENTITY, "displayName": "Build Service"},
            "mergeStatus": "conflicts" if conflicts else "succeeded",
            "lastMergeSourceCommit": {"commitId": self._repository.head_of(pull)},
            "lastMergeCommit": {"commitId": pull.merged or "f" * 40},  # before completion it is a trial of a merge
            "labels": [{"name": name, "active": True} for name in pull.labels],
            "reviewers": [{"id": id, "vote": 0} for id in pull.reviewers],
            "repository": {"id": IDENTITY, "name": "repository", "project": {"id": IDENTITY, "name": "project"}},
        }


@contextmanager
def forge_server(repository: ForgeRepository) -> Iterator[ForgeServer]:
    """A server whose every request and answer has been what the descriptions allow."""
    with ForgeServer(repository) as server:
        yield server
    assert not server.wrong, "\n".join(server.wrong)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[ForgeServer]:
    """In front of an empty folder: for what asks for no repository's content."""
    with forge_server(ForgeRepository(tmp_path)) as server:
        yield server
