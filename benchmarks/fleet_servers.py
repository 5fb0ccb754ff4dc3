"""What `fleet_world.servers` runs: answers as an MLflow and an Argo CD do, each after the same time, and counts requests.

Arguments: number of environments, repository, milliseconds, folder of the models' files, `paged` or `single`.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from benchmarks.fleet_world import ENVIRONMENTS, REGISTRY, release
from promoter.commands.scaffold import template
from promoter.config.yaml import plain_values

_CREATED = {"1": 1_700_000_000_000, "2": 1_700_000_001_000}
_ALIASES = {"1": ["champion", "live-production"], "2": ["challenger", "live-staging"]}
_SPEC = plain_values(dict(template.files())["environments/staging.yaml"].decode(), "staging.yaml")[0]["spec"]
_API, _APPLICATIONS = "/api/2.0/mlflow", "/api/v1/applications/"


class World:
    """The answers, made once."""

    def __init__(self, size: int, remote: str, files: str, *, paged: bool) -> None:
        self.size, self.remote, self.files, self.paged = size, remote, files, paged
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.applications = json.dumps(
            {"items": [self.application(number, name) for number in range(size // 2) for name in ENVIRONMENTS], "metadata": {}}
        ).encode()

    def application(self, number: int, name: str) -> dict[str, Any]:
        model = f"model-{number:05d}"
        source = {"repoURL": f"file://{self.remote}", "path": f"overlays/{model}/{name}", "targetRevision": "main"}
        deployed = release(model, ENVIRONMENTS[name])
        namespace = f"{model}-{name}"
        return {
            "metadata": {"name": namespace, "namespace": "argocd"},
            "spec": {**_SPEC, "project": "default", "source": source},
            "status": {
                "sync": {"status": "Synced"},
                "health": {"status": "Healthy"},
                "summary": {"images": [f"{REGISTRY}/{model}@{deployed.digest}"]},
            },
        }

    def version(self, model: str, version: str) -> dict[str, Any]:
        return {
            "name": model,
            "version": version,
            "creation_timestamp": _CREATED[version],
            "last_updated_timestamp": _CREATED[version],
            "current_stage": "None",
            "status": "READY",
            "run_id": "",
            "source": self.files,
            "aliases": _ALIASES[version],
        }

    def registered(self, number: int) -> dict[str, Any]:
        model = f"model-{number:05d}"
        found = {"name": model, "creation_timestamp": _CREATED["1"] - 5000, "latest_versions": [self.version(model, "2")]}
        if self.paged:
            found["aliases"] = [{"alias": one, "version": of} for of, names in _ALIASES.items() for one in names]
        return found

    def page(self, query: dict[str, str]) -> dict[str, Any]:
        start, size = int(query.get("page_token", "0")), int(query.get("max_results", "100"))
        end = min(start + size, self.size // 2)
        found: dict[str, Any] = {"registered_models": [self.registered(number) for number in range(start, end)]}
        return found | ({"next_page_token": str(end)} if end < self.size // 2 else {})

    def answer(self, path: str, query: dict[str, str]) -> object:
        name = query.get("name", "")
        match path.removeprefix(_API):
            case "/registered-models/alias":
                of = next((version for version, aliases in _ALIASES.items() if query["alias"] in aliases), None)
                return None if of is None else {"model_version": self.version(name, of)}
            case "/registered-models/search":
                return self.page(query)
            case "/model-versions/get":
                return {"model_version": self.version(name, query["version"])}
            case "/model-versions/get-download-uri":
                return {"artifact_uri": self.files}
        if path.startswith(_APPLICATIONS):
            return self.about_application(path.removeprefix(_APPLICATIONS))
        return None

    def about_application(self, path: str) -> object:
        """One Application, or its sync windows, of which there is none."""
        namespace, _, part = path.partition("/")
        model, _, name = namespace.rpartition("-")
        if part:
            return {} if part == "syncwindows" else None
        return self.application(int(model.rpartition("-")[2]), name)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: World
    seconds: float

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        world = self.world
        if url.path == "/count":
            counts, world.counts = world.counts, Counter()
            self.send(json.dumps(counts).encode())
            return
        with world.lock:
            world.counts["mlflow" if url.path.startswith(_API) else "argocd"] += 1
        time.sleep(self.seconds)
        if url.path == "/api/v1/applications":
            self.send(world.applications)
            return
        found = world.answer(url.path, query)
        missing = {"error_code": "RESOURCE_DOES_NOT_EXIST", "error": "not found", "message": f"{url.path} not found", "code": 5}
        self.send(json.dumps(missing if found is None else found).encode(), 404 if found is None else 200)

    def send(self, body: bytes, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main(size: str, remote: str, milliseconds: str, files: str, mode: str) -> None:
    Handler.world, Handler.seconds = World(int(size), remote, files, paged=mode == "paged"), float(milliseconds) / 1000
    with Server(("127.0.0.1", 0), Handler) as server:
        print(server.server_address[1], flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])
