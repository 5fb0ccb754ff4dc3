"""MLflow over its own Python client: for the addresses and stores that the REST API does not lead to.

mlflow is imported here only, and only when the first question is asked: it takes seconds.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from promoter.errors import AuthError, UnreachableError, UsageError, without_credentials
from promoter.machine.extras import install
from promoter.machine.folders import temporary
from promoter.model_registry.artifacts import Artifacts, Folders, LocalArtifacts, Reader, listing, require_below, untrusted
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
from promoter.transport.boundary import ODD, unlike

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from promoter.model_registry.settings import Settings

# MLflow reads its settings from the process's environment, and by default asks again for minutes before it gives up.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_PACKAGES = (
    "install boto3 for s3:, google-cloud-storage for gs:, azure-storage-blob for wasbs:, "
    "azure-storage-file-datalake for abfss:, mlflow for a database"
)
_SERVED = ("mlflow-artifacts", "http", "https")
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_AUTH = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s'\"]*=[^\s'\"]*")
_ENVIRONMENT = Lock()
# What the storage libraries below MLflow raise as it is; none of them can be imported to name its classes.
_STORAGE = ("sqlalchemy", "botocore", "boto3", "azure", "google", "databricks", "requests", "urllib3", "paramiko")


class ClientStore:
    """The Store behind every address that mlflow can open: sqlite:, postgresql:, databricks-uc, azureml:, a folder."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._where = settings.registry_uri or settings.tracking_uri
        for uri in (settings.tracking_uri, self._where):
            _require_database(uri)

    def by_version(self, name: str, version: str) -> RegisteredVersion:
        """MlflowClient.get_model_version."""
        with self._client() as client:
            return _registered(client.get_model_version(name, version))

    def by_alias(self, name: str, alias: str) -> RegisteredVersion:
        """MlflowClient.get_model_version_by_alias."""
        with self._client() as client:
            return _registered(client.get_model_version_by_alias(name, alias))

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
        return tracking.scheme == here.scheme == "azureml"

    @contextmanager
    def _client(self) -> Iterator[MlflowClient]:
        with mlflow_errors(self._where):
            from mlflow import MlflowClient
            from mlflow.tracking.registry import UnsupportedModelRegistryStoreURIException

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


@contextmanager
def mlflow_errors(where: str) -> Iterator[None]:
    """Imports and runs mlflow quietly and impatiently; what it raises becomes our errors, which name `where`.

    Raises:
        NotFound, AuthError, UnreachableError: by MLflow's error code.
        UsageError: a package is missing that this address needs, or MLflow can't use the address.
    """
    for variable, value in _SETTINGS.items():
        os.environ.setdefault(variable, value)
    with warnings.catch_warnings():
        # Its deprecation warnings are for its developers and callers; promoter's users can't act on them.
        warnings.simplefilter("ignore")
        try:
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            hint = f"{install('mlflow')}, or mlflow itself for a database; http and https need neither"
            raise UsageError(f"{where} needs MLflow's client: {error}", hint=hint) from None
        try:
            yield
        except MlflowException as error:
            raise _translated(where, error.error_code, str(error.message)) from None
        except ImportError as error:
            raise UsageError(f"{where} needs a package that is missing: {error}", hint=_PACKAGES) from None
        except ODD as error:
            raise unlike("MLflow", where, f"{type(error).__name__}: {_line(str(error))}") from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in _STORAGE:
                raise
            raise UnreachableError(
                f"{where} can't be read: {_line(str(error))}", hint="check its address, its credentials and the network"
            ) from None


def _translated(where: str, code: str, message: str) -> Exception:
    line = f"MLflow at {where}: {_line(message)}"
    if code in _NOT_FOUND:
        return NotFound(line)
    if code in _AUTH or " 401" in line or " 403" in line:
        return AuthError(
            line, hint="set the credentials that this address needs (MLFLOW_TRACKING_TOKEN, DATABRICKS_TOKEN, ...)"
        )
    return UnreachableError(line, hint="check the address, and that it can be reached from here")


def _line(message: str) -> str:
    """The first line, with the last if the first only introduces it, as for a download. Signed URLs are cut."""
    first, *rest = message.strip().splitlines() or [""]
    line = f"{first} {rest[-1]}" if rest and first.endswith(":") else first
    return _QUERY.sub("", line)


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
