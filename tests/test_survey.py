"""Many environments at once: every alias is read, each once, and one that fails takes nothing from the others."""

from __future__ import annotations

import socket
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from promoter import config
from promoter.errors import UnreachableError, UsageError
from promoter.models import Environment
from promoter.promotion.clients import Clients
from promoter.promotion.survey import Survey
from tests.support.mlflow_server import MlflowServer

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
