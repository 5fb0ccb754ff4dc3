"""MLflow over its REST API, in a fraction of the seconds that importing mlflow takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from promoter.model_registry.artifacts import Artifacts, LocalArtifacts, untrusted
from promoter.model_registry.proxied import API, ProxiedArtifacts
from promoter.model_registry.server import TrackingServer
from promoter.model_registry.store import (
    SHOWN,
    LoggedModel,
    Registered,
    RegisteredVersion,
    from_milliseconds,
    newest,
    newest_version,
    of_model,
)
from promoter.transport.boundary import Server, odd_answers_are_errors
from promoter.transport.typed import require_typed

if TYPE_CHECKING:
    from promoter.model_registry.settings import Settings

_PAGE = 1000  # the most that MLflow gives at once (SEARCH_REGISTERED_MODEL_MAX_RESULTS_THRESHOLD)


@odd_answers_are_errors
class RestStore:
    """The Store behind http and https addresses."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._tracking = TrackingServer(settings.tracking_uri, settings)
        self._registry = TrackingServer(settings.registry_uri, settings) if settings.registry_uri else self._tracking
        self._http: Server = self._registry.asked

    def by_version(self, name: str, version: str) -> RegisteredVersion:
        """GET model-versions/get."""
        found = self._registry.get("mlflow/model-versions/get", _registered, name=name, version=version)
        return _about(found, name, version)

    def by_alias(self, name: str, alias: str) -> RegisteredVersion:
        """GET registered-models/alias."""
        return _about(self._registry.get("mlflow/registered-models/alias", _registered, name=name, alias=alias), name)

    def by_stage(self, name: str, stage: str | None) -> RegisteredVersion:
        """POST registered-models/get-latest-versions; its versions lack their aliases, so the version is asked for again."""
        body = {"name": name, **({"stages": [stage]} if stage else {})}
        versions = self._registry.post("mlflow/registered-models/get-latest-versions", body, _versions)
        return self.by_version(name, newest_version(versions, name, stage))

    def aliases(self, name: str) -> Mapping[str, str]:
        """GET registered-models/get: alias -> version."""
        return self._registry.get("mlflow/registered-models/get", _aliases, name=name)

    def pages(self) -> Iterator[Sequence[Registered]]:
        """GET registered-models/search, page by page; those of Databricks have no aliases."""
        token = ""
        while True:
            query = {"max_results": str(_PAGE), **({"page_token": token} if token else {})}
            found, token = self._registry.get("mlflow/registered-models/search", _page, **query)
            yield found
            if not token:
                return

    def versions(self, name: str) -> Sequence[str]:
        """GET model-versions/search."""
        query = {"filter": of_model(name), "max_results": str(SHOWN), "order_by": "version_number DESC"}
        return self._registry.get("mlflow/model-versions/search", _versions, **query)

    def download_uri(self, registered: RegisteredVersion) -> str:
        """GET model-versions/get-download-uri, which follows the copies that copy_model_version makes."""
        path = "mlflow/model-versions/get-download-uri"
        return self._registry.get(
            path, lambda answer: require_typed(answer["artifact_uri"], str), name=registered.name, version=registered.version
        )

    def logged_model(self, model_id: str) -> LoggedModel:
        """GET logged-models/<id>."""
        return self._tracking.get(f"mlflow/logged-models/{model_id}", _logged)

    def run_metrics(self, run_id: str) -> Mapping[str, float]:
        """GET runs/get."""
        return self._tracking.get("mlflow/runs/get", lambda answer: _metrics(answer["run"].get("data", {})), run_id=run_id)

    def run_parameters(self, run_id: str) -> Mapping[str, str]:
        """GET runs/get."""
        return self._tracking.get("mlflow/runs/get", lambda answer: _parameters(answer["run"].get("data", {})), run_id=run_id)

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """POST model-versions/set-tag."""
        body = {"name": name, "version": version, "key": key, "value": value}
        self._registry.post("mlflow/model-versions/set-tag", body, lambda _: None)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """POST registered-models/alias."""
        body = {"name": name, "alias": alias, "version": version}
        self._registry.post("mlflow/registered-models/alias", body, lambda _: None)

    def artifacts(self, uri: str) -> Artifacts:
        """Served by MLflow, or in one of the configured sources: a folder here, or what MLflow's own client reads."""
        if urlsplit(uri).scheme == "runs":
            uri = self._of_run(uri)
        parts = urlsplit(uri)
        if parts.scheme in ("mlflow-artifacts", "http", "https"):
            return ProxiedArtifacts(*self._served(uri, parts), self._settings.most_files)
        self._settings.sources.require(uri)
        if parts.scheme in ("", "file"):
            return LocalArtifacts(uri, self._settings.most_files)
        # Imported here: only clouds need mlflow.
        from promoter.model_registry.client import ClientArtifacts

        return ClientArtifacts(uri, self._settings)

    def _of_run(self, uri: str) -> str:
        """Where a folder of a run is (`runs:/ID/PATH`)."""
        run_id, _, path = urlsplit(uri).path.strip("/").partition("/")
        root = self._tracking.get("mlflow/runs/get", _artifact_uri, run_id=run_id)
        return f"{root.rstrip('/')}/{path}"

    def _served(self, uri: str, parts: SplitResult) -> tuple[TrackingServer, str]:
        """The MLflow server that has the files, and their path there. Only the tracking server gets credentials."""
        tracking = urlsplit(self._tracking.uri)
        if parts.scheme == "mlflow-artifacts":
            base, path = tracking._replace(netloc=parts.netloc or tracking.netloc), unquote(parts.path)
        else:
            prefix, served, path = parts.path.partition(f"{API}/")
            base, path = parts._replace(path=prefix, query="", fragment=""), unquote(path) if served else ".."
        if base != tracking:
            self._settings.sources.require(uri)
        if ".." in path.split("/"):
            raise untrusted(f"they are in {uri}, which is not an address of files")
        return (self._tracking if base == tracking else TrackingServer(base.geturl(), self._settings, anonymous=True)), path


def _page(answer: Any) -> tuple[list[Registered], str]:
    """The models of a page, and the token of the next one."""
    return [_model(one) for one in answer.get("registered_models") or ()], str(answer.get("next_page_token") or "")


def _model(model: Any) -> Registered:
    aliases = _aliases({"registered_model": model})
    versions = {}
    for one in model.get("latest_versions") or ():
        own = sorted(alias for alias, number in aliases.items() if number == str(one["version"]))
        versions[str(one["version"])] = _registered({"model_version": {**one, "aliases": own}})
    return require_typed(Registered(model["name"], from_milliseconds(model["creation_timestamp"]), aliases, versions))


def _registered(answer: Any) -> RegisteredVersion:
    version = answer["model_version"]
    stage = version.get("current_stage")
    found = RegisteredVersion(
        name=version["name"],
        version=str(version["version"]),
        created=from_milliseconds(version["creation_timestamp"]),
        source=version.get("source", ""),
        status=version.get("status", "READY"),
        status_message=version.get("status_message") or "",
        run_id=version.get("run_id") or None,
        stage=None if stage in (None, "", "None") else stage,
        description=version.get("description") or "",
        tags={tag["key"]: tag.get("value") or "" for tag in version.get("tags") or ()},
        aliases=tuple(sorted(version.get("aliases") or ())),
    )
    return require_typed(found)


def _about(found: RegisteredVersion, name: str, version: str | None = None) -> RegisteredVersion:
    """As asked for; a database may know a name in another case."""
    if found.name.casefold() != name.casefold() or version not in (None, found.version):
        raise ValueError(f"it is about {found.name} {found.version}, not {name} {version or ''}".rstrip())
    return found


def _artifact_uri(answer: Any) -> str:
    return require_typed(answer["run"]["info"]["artifact_uri"], str)


def _versions(answer: Any) -> list[str]:
    return [str(version["version"]) for version in answer.get("model_versions", [])]


def _aliases(answer: Any) -> dict[str, str]:
    aliases = {entry["alias"]: str(entry["version"]) for entry in answer["registered_model"].get("aliases") or ()}
    return require_typed(aliases, dict[str, str])


def _logged(answer: Any) -> LoggedModel:
    info, data = answer["model"]["info"], answer["model"].get("data", {})
    status = info.get("status", "").removeprefix("LOGGED_MODEL_")
    return require_typed(LoggedModel(info["model_id"], status, info["artifact_uri"], _metrics(data)))


def _parameters(data: Any) -> dict[str, str]:
    return require_typed({one["key"]: one["value"] for one in data.get("params", [])}, dict[str, str])


def _metrics(data: Any) -> dict[str, float]:
    """The metrics of a run or a logged model; NaN and the infinities are strings in MLflow's JSON."""
    metrics = data.get("metrics", [])
    logged = [(metric["key"], metric["value"], metric.get("timestamp"), metric.get("step")) for metric in metrics]
    return require_typed(newest(logged), dict[str, float])
