"""MLflow over its own Python client: for the addresses and stores that the REST API does not lead to.

mlflow is imported here only, and only when the first question is asked: it takes seconds.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from promoter.errors import UsageError, without_credentials
from promoter.machine.folders import temporary
from promoter.model_registry import azureml
from promoter.model_registry.artifacts import Artifacts, Folders, LocalArtifacts, Reader, listing, require_below, untrusted
from promoter.model_registry.mlflow_errors import mlflow_errors
from promoter.model_registry.settings import is_workspace
from promoter.model_registry.store import (
    SHOWN,
    LoggedModel,
    NotFound,
    Registered,
    RegisteredVersion,
    from_milliseconds,
    newest,
    newest_version,
    of_model,
)
from promoter.models import ModelFile

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from promoter.model_registry.settings import Settings

_SERVED = ("mlflow-artifacts", "http", "https")
_ENVIRONMENT = Lock()


class ClientStore:
    """The Store behind every address that mlflow can open: sqlite:, postgresql:, databricks-uc, azureml:, a folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._where = settings.registry_uri or settings.tracking_uri
        for uri in (settings.tracking_uri, self._where):
            _require_database(uri)
        self._azure: Any = None

    def by_version(self, name: str, version: str) -> RegisteredVersion:
        """MlflowClient.get_model_version."""
        with self._client() as client:
            return _registered(client.get_model_version(name, version))

    def by_alias(self, name: str, alias: str) -> RegisteredVersion:
        """MlflowClient.get_model_version_by_alias."""
        try:
            with self._client() as client:
                return _registered(client.get_model_version_by_alias(name, alias))
        except NotFound:
            if is_workspace(self._where):
                raise azureml.no_alias(self._where, name, alias) from None
            raise

    def by_stage(self, name: str, stage: str | None) -> RegisteredVersion:
        """MlflowClient.get_latest_versions; its versions lack their aliases, so the version is asked for again."""
        with self._client() as client:
            versions = client.get_latest_versions(name, [stage] if stage else None)
        return self.by_version(name, newest_version([str(one.version) for one in versions], name, stage))

    def aliases(self, name: str) -> Mapping[str, str]:
        """MlflowClient.get_registered_model: alias -> version."""
        with self._client() as client:
            return {alias: str(version) for alias, version in client.get_registered_model(name).aliases.items()}

    def pages(self) -> Iterator[Sequence[Registered]]:
        """None: Unity Catalog's have no aliases, and a database is not asked for many."""
        return iter(())

    def versions(self, name: str) -> Sequence[str]:
        """MlflowClient.search_model_versions."""
        with self._client() as client:
            found = client.search_model_versions(of_model(name), SHOWN, ["version_number DESC"])
            return [str(one.version) for one in found]

    def download_uri(self, registered: RegisteredVersion) -> str:
        """The files' store; Unity Catalog serves them only by the version's own URI, with temporary credentials."""
        if self._where.startswith("databricks"):
            return f"models:/{registered.name}/{registered.version}"
        with self._client() as client:
            return str(client.get_model_version_download_uri(registered.name, registered.version))

    def logged_model(self, model_id: str) -> LoggedModel:
        """MlflowClient.get_logged_model."""
        with self._client() as client:
            logged = client.get_logged_model(model_id)
        metrics = ((metric.key, metric.value, metric.timestamp, metric.step) for metric in logged.metrics or ())
        return LoggedModel(model_id, logged.status.value, logged.artifact_location, newest(metrics))

    def run_metrics(self, run_id: str) -> Mapping[str, float]:
        """MlflowClient.get_run."""
        with self._client() as client:
            return dict(client.get_run(run_id).data.metrics)

    def run_parameters(self, run_id: str) -> Mapping[str, str]:
        """MlflowClient.get_run."""
        with self._client() as client:
            return dict(client.get_run(run_id).data.params)

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """MlflowClient.set_model_version_tag."""
        with self._client() as client:
            client.set_model_version_tag(name, version, key, value)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """MlflowClient.set_registered_model_alias."""
        with self._client() as client:
            client.set_registered_model_alias(name, alias, version)

    def artifacts(self, uri: str) -> Artifacts:
        """With the tracking server, in a folder here, or read with MLflow's client."""
        uri = self._resolved(uri)
        if not self._with_tracking_server(uri):
            self._settings.sources.require(uri)
            if urlsplit(uri).scheme in _SERVED:
                raise untrusted(f"they are on {uri}, and MLflow's client would send its credentials there")
        if urlsplit(uri).scheme in ("", "file"):
            return LocalArtifacts(uri, self._settings.most_files)
        if is_workspace(uri):
            with self._client():
                return azureml.AzureArtifacts(uri, self._azure, self._settings.most_files)
        return ClientArtifacts(uri, self._settings)

    def _resolved(self, uri: str) -> str:
        """Where a folder of a run is (`runs:/ID/PATH`), which may be anywhere."""
        if urlsplit(uri).scheme != "runs":
            return uri
        with self._client() as client:
            from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository

            run_id, path = RunsArtifactRepository.parse_runs_uri(uri)
            return f"{client.get_run(run_id).info.artifact_uri.rstrip('/')}/{path or ''}"

    def _with_tracking_server(self, uri: str) -> bool:
        """Whether what knows the version also has its files; the client's credentials are for that place then."""
        here, tracking = urlsplit(uri), urlsplit(without_credentials(self._settings.tracking_uri))
        if tracking.scheme in ("http", "https"):
            return here.scheme in _SERVED and (here.netloc == "" or here.netloc == tracking.netloc)
        if self._where.startswith("databricks"):
            return here.scheme in ("models", "dbfs")
        return is_workspace(self._settings.tracking_uri) and is_workspace(uri)

    @contextmanager
    def _client(self) -> Iterator[MlflowClient]:
        with mlflow_errors(self._where):
            from mlflow import MlflowClient
            from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

            if is_workspace(self._where):
                self._azure = self._azure or azureml.sign_in(self._where, self._settings)
            try:
                yield MlflowClient(self._settings.tracking_uri, self._settings.registry_uri)
            except UnsupportedModelRegistryStoreURIException:
                raise UsageError(
                    f"MLflow can't open a model registry at {self._where}",
                    hint="use http(s):, sqlite:, postgresql: or databricks-uc, or install MLflow's plug-in for that address",
                ) from None


def _require_database(uri: str) -> None:
    """SQLite makes a database where there is none, and MLflow its tables in it: then no model would be registered.

    Raises:
        UsageError: `uri` names a SQLite file that does not exist.
    """
    scheme, _, path = uri.partition(":///")
    path = path.partition("?")[0]
    if scheme.partition("+")[0] == "sqlite" and path and path != ":memory:" and not Path(path).exists():
        raise UsageError(
            f"MLflow's database {path} does not exist",
            hint="correct MLFLOW_TRACKING_URI or MLFLOW_REGISTRY_URI: sqlite:/// and a path, with a fourth / if it is absolute",
        )


class ClientArtifacts:
    """Files that MLflow's artifact repositories can read: s3:, gs:, abfss:, dbfs:, runs:, models: and more."""

    def __init__(self, uri: str, settings: Settings) -> None:
        self._uri, self._settings = uri, settings

    def list(self, _: datetime, /) -> tuple[ModelFile, ...]:
        """See Artifacts; MLflow's client does not return ETags."""
        with mlflow_errors(self._uri):
            return listing(self._files(self._repository()), self._settings.most_files)

    def _files(self, repository: Any) -> Iterator[ModelFile]:
        for folder in (folders := Folders(self._settings.most_files)):
            for info in repository.list_artifacts(folder):
                if info.is_dir:
                    folders.add(info.path)
                else:
                    yield ModelFile(info.path, int(info.file_size or 0))

    @contextmanager
    def open(self, file: ModelFile) -> Iterator[Reader]:
        """See Artifacts; the file is fetched whole into a temporary folder, and gone after."""
        with temporary("model") as folder:
            with mlflow_errors(self._uri):
                fetched = Path(self._repository().download_artifacts(require_below(file.path), dst_path=str(folder)))
            with fetched.open("rb") as content:
                yield content

    def _repository(self) -> Any:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        tracking, registry = self._settings.tracking_uri, self._settings.registry_uri
        with _in_the_environment(MLFLOW_TRACKING_URI=tracking, MLFLOW_REGISTRY_URI=registry or tracking):
            return get_artifact_repository(self._uri, tracking, registry)


@contextmanager
def _in_the_environment(**variables: str) -> Iterator[None]:
    """For what MLflow makes with the process's addresses whatever it is given: the client of Unity Catalog's files.

    `databricks-uc` in the environment is one that it can't track with, and none is a folder here.
    """
    with _ENVIRONMENT:
        before = {name: os.environ.get(name) for name in variables}
        os.environ.update(variables)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _registered(version: Any) -> RegisteredVersion:
    return RegisteredVersion(
        name=version.name,
        version=str(version.version),
        created=from_milliseconds(version.creation_timestamp),
        source=version.source or "",
        status=version.status,
        status_message=version.status_message or "",
        run_id=version.run_id or None,
        stage=None if version.current_stage in (None, "", "None") else version.current_stage,
        description=version.description or "",
        tags=dict(version.tags or {}),
        aliases=tuple(sorted(version.aliases or ())),
    )
