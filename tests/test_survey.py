"""Many environments at once: every alias is read, each once, and one that fails takes nothing from the others."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from promoter import config
from promoter.errors import UnreachableError, UsageError
from promoter.models import Environment
from promoter.promotion.clients import Clients
from promoter.promotion.survey import Survey
from tests.support.full import few
from tests.support.mlflow_server import MlflowServer, older_mlflow

ALIASES = [f"alias-{number}" for number in range(40)]


def clients_of(folder: Path, uri: str, named: Sequence[tuple[str, str]]) -> Clients:
    """An environment for each model and alias."""
    environments = [
        {"name": f"e{number}", "model": model, "alias": alias, "application": {"name": f"e{number}"}}
        for number, (model, alias) in enumerate(named)
    ]
    document = {
        "models": {model: {"image": f"r.example.com/{model}"} for model, _ in named},
        "environments": environments,
        "image": {"runtime": "scratch"},
    }
    file = folder / config.FILE
    file.write_text(str(document).replace("'", '"'))
    return Clients(config.load(file), {"MLFLOW_TRACKING_URI": uri, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "HOME": str(folder)})


@contextmanager
def deaf() -> Iterator[tuple[str, list[socket.socket]]]:
    """A server that hangs up on whoever connects; how often is the length of the list."""
    listener, seen = socket.create_server(("127.0.0.1", 0), backlog=64), list[socket.socket]()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            seen.append(client)
            client.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", seen
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def test_every_alias_is_read_once_before_anything_else(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    model = f"detector-{uuid.uuid4().hex[:8]}"
    source = f"models:/{mlflow_server.log_model()}"
    mlflow_server.register(model, source)
    mlflow_server.register(model, source)
    for number, alias in enumerate(ALIASES[:-1]):
        mlflow_server.set_alias(model, alias, str(number % 2 + 1))
    clients = clients_of(tmp_path, mlflow_server.url, [*((model, alias) for alias in ALIASES), (f"{model}-gone", "champion")])
    environments = clients.config.environments
    survey = Survey(clients, with_argocd=False)
    survey.look_up(environments)
    with deaf() as (url, seen):
        survey.clients = replace(clients, environ={**clients.environ, "MLFLOW_TRACKING_URI": url})
        found = [survey.wanted(one) for one in environments[:40]]
        with pytest.raises(UsageError):
            survey.wanted(environments[40])
        assert seen == [], "everything was read before"
    assert [one.version if one else None for one in found] == [*(str(number % 2 + 1) for number in range(39)), None]


def test_a_server_that_does_not_answer_is_asked_for_one_of_them_only(tmp_path: Path) -> None:
    with deaf() as (url, seen):
        many = clients_of(tmp_path, url, [("detector", alias) for alias in ALIASES])
        survey = Survey(many, with_argocd=False)
        survey.look_up(many.config.environments)
        assert failing(survey, many.config.environments) == 40
        assert 0 < len(seen) < len(ALIASES), "one of them, some times"


def failing(survey: Survey, environments: Sequence[Environment]) -> int:
    """How many of them can't be read."""
    count = 0
    for one in environments:
        with pytest.raises(UnreachableError):
            survey.wanted(one)
        count += 1
    return count


# -- pages of registered models ---------------------------------------------------------------------------------------


def fill(server: MlflowServer, count: int) -> list[str]:
    """As many models of two versions: champion is the first, challenger the second."""
    source = "s3://models/one"
    models = [f"fleet-{uuid.uuid4().hex[:8]}" for _ in range(count)]
    for model in models:
        server.register(model, source, alias="champion", stage="one")
        server.register(model, source, alias="challenger", stage="two")
    return models


class Counting:
    """The MLflow behind a relay that counts requests by their path."""

    def __init__(self, server: MlflowServer) -> None:
        self.server, self.paths = server, list[str]()

    @contextmanager
    def listening(self) -> Iterator[str]:
        counting = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                counting.paths.append(urlsplit(self.path).path.rpartition("mlflow/")[2])
                answer = requests.get(f"{counting.server.url}{self.path}", timeout=30)
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:
                """Nothing."""

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
            thread = threading.Thread(target=listener.serve_forever, daemon=True)
            thread.start()
            yield f"http://127.0.0.1:{listener.server_address[1]}"
            listener.shutdown()


def check_pages_have_aliases(server: MlflowServer, folder: Path) -> None:
    """The newest versions come with the page, older ones of no release by a look-up each, and none is asked for twice."""
    models = fill(server, 20)
    named = [(model, alias) for model in models for alias in ("champion", "challenger")]
    named += [(models[0], "nobody"), ("fleet-gone", "champion")]
    counting = Counting(server)
    with counting.listening() as url:
        clients = clients_of(folder, url, named)
        environments = clients.config.environments
        survey = Survey(clients, with_argocd=False)
        survey.look_up(environments)
        assert counting.paths.count("registered-models/search") == 1
        assert counting.paths.count("registered-models/alias") == 21, "champions, and the model that is gone"
        before = len(counting.paths)
        found = {one.model.name: survey.wanted(one) for one in environments if one.alias == "challenger"}
        assert [one and (one.version, one.tags, one.aliases) for one in found.values()] == [
            ("2", {"stage": "two"}, ("challenger",))
        ] * 20
        assert found == {model: clients.model_registry.at_alias(model, "challenger") for model in models}
        assert survey.wanted(environments[40]) is None
        assert len(counting.paths) == before + 20, "only what this test has asked for itself"


def test_pages_of_the_newest_mlflow_have_aliases(tmp_path: Path, mlflow_server: MlflowServer) -> None:
    check_pages_have_aliases(mlflow_server, tmp_path)


@pytest.mark.parametrize("version", few(["2.22.0", "3.5.0"]))
def test_pages_of_older_ones_have_them_too(tmp_path: Path, version: str) -> None:
    store = tmp_path / "store"
    store.mkdir()
    with older_mlflow(version, store) as server:
        check_pages_have_aliases(server, tmp_path)
