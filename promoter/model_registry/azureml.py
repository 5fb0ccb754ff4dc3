"""Workspaces of Azure Machine Learning, by MLflow's plug-in for them (azureml-mlflow), without what it would ask a person.

The plug-in signs in by a browser or waits for a device code where it finds no identity, which a pipeline can't answer. Its
listings start at the run's root and have no sizes: both are corrected here.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from promoter.errors import UsageError
from promoter.model_registry.artifacts import Reader, listing, require_below, untrusted
from promoter.model_registry.mlflow_errors import mlflow_errors
from promoter.models import ModelFile

if TYPE_CHECKING:
    from promoter.model_registry.settings import Settings

_SHAPE = "azureml://REGION.api.azureml.ms/mlflow/v1.0/subscriptions/…/resourceGroups/…/providers/…/workspaces/NAME"
_WORKSPACE = re.compile(
    r"/mlflow/v[\d.]+/subscriptions/([^/]+)/resourceGroups/([^/]+)/providers/Microsoft\.MachineLearningServices/workspaces/([^/]+)/?"
)
_RUN = re.compile(r"/.*/experiments/([^/]+)/runs/([^/]+)/artifacts(?:/(.*))?")
_UPLOAD = re.compile(r"/([^/]+)/([^/]+)/(.+)")
# An identity of this machine goes to Microsoft's hosts only: promoter.yaml may name any.
_CLOUDS = {
    ".api.azureml.ms": "AzureCloud",
    ".api.ml.azure.us": "AzureUSGovernment",
    ".api.ml.azure.cn": "AzureChinaCloud",
}


def sign_in(uri: str, settings: Settings) -> Any:
    """What the plug-in needs to reach the workspace, which it finds from then on when MLflow opens `uri`.

    Raises:
        UsageError: no such address, or one that this machine's identity is not sent to.
        AuthError: MLFLOW_TRACKING_TOKEN is not for this place.
        ImportError: the plug-in is missing.
    """
    parts = urlsplit(uri)
    matched = _WORKSPACE.fullmatch(parts.path)
    if matched is None or not parts.hostname:
        raise UsageError(f"{uri} is not the address of a workspace of Azure Machine Learning", hint=f"write {_SHAPE}")
    from azureml.mlflow._common._cloud.cloud import _get_cloud_or_default
    from azureml.mlflow._internal.service_context_loader import _AzureMLServiceContextLoader
    from azureml.mlflow._internal.utils import ServiceContext

    host, cloud = f"https://{parts.netloc}", next((_CLOUDS[end] for end in _CLOUDS if parts.hostname.endswith(end)), None)
    known = _get_cloud_or_default(cloud or "AzureCloud")
    subscription, group, workspace = map(unquote, matched.groups())
    context = ServiceContext(
        host_url=host,
        subscription_id=subscription,
        resource_group_name=group,
        workspace_name=workspace,
        auth=_identity(host, known, settings, ours=cloud is not None),
        cloud=known,
    )
    _AzureMLServiceContextLoader.add_service_context(uri, context)
    return context


def no_alias(where: str, name: str, alias: str) -> UsageError:
    """The error for an alias: the registry of Azure Machine Learning has versions, stages and tags only."""
    return UsageError(
        f"{where} has no alias {alias} of {name}: Azure Machine Learning knows no aliases",
        hint=f"name a version ({name}:3) or a stage ({name}/Production); in promoter.yaml, alias: stage/Production",
    )


def _identity(host: str, cloud: Any, settings: Settings, *, ours: bool) -> Any:
    token = settings.credential
    if token is not None and token.username is None:
        token.require(host)
        return _Token(token.secret.strip())
    if not ours:
        raise UsageError(
            f"{host} is not a host of Azure Machine Learning: this machine's identity is not sent there",
            hint=f"write {_SHAPE}",
        )
    from azure.identity import DefaultAzureCredential

    return DefaultAzureCredential(authority=cloud._get_authority())


class _Token:
    """A token that was given, in the form that Azure's clients ask for one."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_: str, **__: Any) -> Any:
        from azure.core.credentials import AccessToken

        # When it ends only its issuer knows; the service refuses it then.
        return AccessToken(self._token, int(time.time()) + 3600)


class AzureArtifacts:
    """Files of a run of the workspace, or uploaded to it."""

    def __init__(self, uri: str, context: Any, most: int) -> None:
        self._uri, self._most = uri, most
        with mlflow_errors(uri):
            self._plugin = _files_of(uri, context)

    def list(self, _: datetime, /) -> tuple[ModelFile, ...]:
        """See Artifacts; each file's size is asked for: listings of Azure Machine Learning have none."""
        with mlflow_errors(self._uri):
            return listing((ModelFile(path, self._blob(path).get_blob_properties().size) for path in self._paths()), self._most)

    def _paths(self) -> Iterator[str]:
        """Of the whole run, or upload, those that are below the model's own folder."""
        for path in self._plugin.get_file_paths():
            if path.startswith(self._folder):
                yield require_below(path.removeprefix(self._folder))

    @contextmanager
    def open(self, file: ModelFile) -> Iterator[Reader]:
        """See Artifacts."""
        with mlflow_errors(self._uri):
            content = self._blob(require_below(file.path)).download_blob()
        yield _Content(content, self._uri)

    @property
    def _folder(self) -> str:
        return f"{self._plugin.path}/" if self._plugin.path else ""

    def _blob(self, path: str) -> Any:
        """By the signed address that the workspace gives for it."""
        from azure.storage.blob import BlobClient

        place, scope = self._plugin, self._plugin._service_context
        of_workspace = {
            "subscription_id": scope.subscription_id,
            "resource_group_name": scope.resource_group_name,
            "workspace_name": scope.workspace_name,
            "path": self._folder + path,
        }
        if hasattr(place, "_run_id"):
            ask, which = place._client.run_artifacts, {"experiment_name": place._experiment_name, "run_id": place._run_id}
        else:
            ask, which = place._client.artifacts, {"origin": place._origin, "container": place._container}
        return BlobClient.from_blob_url(ask.get_content_information(**of_workspace, **which).content_uri)


class _Content:
    """The bytes of a blob; what breaks off while they come is one of our errors, too."""

    def __init__(self, content: Any, uri: str) -> None:
        self._content, self._uri = content, uri

    def read(self, size: int = -1, /) -> bytes:
        with mlflow_errors(self._uri):
            return bytes(self._content.read(size))


def _files_of(uri: str, context: Any) -> Any:
    from azureml.mlflow._client.artifact.local_artifact_client import LocalArtifactClient
    from azureml.mlflow._client.artifact.run_artifact_client import RunArtifactsClient

    parts = urlsplit(uri)
    if matched := _RUN.fullmatch(parts.path):
        experiment, run, path = (unquote(part or "") for part in matched.groups())
        return RunArtifactsClient(context, experiment, run, path.strip("/"))
    if parts.netloc == "artifacts" and (matched := _UPLOAD.fullmatch(parts.path)):
        origin, container, path = map(unquote, matched.groups())
        return LocalArtifactClient(context, origin, container, path.strip("/"))
    raise untrusted(f"they are in {uri}, which is neither a run of the workspace nor uploaded to it")
