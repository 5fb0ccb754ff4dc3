"""A reference to a model version in, the version with all that promoter needs to know of it out."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from promoter.errors import RefusedError, UsageError, without_credentials
from promoter.model_registry import mlmodel, settings
from promoter.model_registry.pickles import pickled
from promoter.model_registry.reference import LATEST, ModelReference
from promoter.model_registry.store import LoggedModel, NotFound, Registered, RegisteredVersion, Store
from promoter.models import MOST_FILES, ModelFile, ModelVersion

if TYPE_CHECKING:
    from promoter.model_registry.artifacts import Artifacts, Reader
    from promoter.transport.session import Limits

_LARGEST_TEXT = 16 * 1024 * 1024
_READY = "READY"


def connect(
    environ: Mapping[str, str],
    *,
    tracking_uri: str | None = None,
    sources: Sequence[str] = (),
    most_files: int = MOST_FILES,
    limits: Limits | None = None,
) -> ModelRegistry:
    """The model registry that this environment leads to; `tracking_uri` is used where it names none. Nothing is asked yet.

    `sources`: where model files may be, apart from the tracking server (see `Sources`). A version may have `most_files`, and as
    many folders.

    MLFLOW_REGISTRY_URI wins over MLFLOW_TRACKING_URI, which wins over `tracking_uri`. http and https are spoken directly;
    every other address, and authentication by a plug-in, goes through MLflow's own client.

    Raises:
        UsageError: no address, or a variable with a value that can't be used.
    """
    found = replace(settings.read(environ, tracking_uri=tracking_uri, sources=sources), most_files=most_files)
    if limits is not None:
        found = replace(found, limits=limits)
    where = without_credentials(found.registry_uri or found.tracking_uri)
    # Imported here: each way needs libraries that the other does not.
    if found.rest:
        from promoter.model_registry.rest import RestStore

        return ModelRegistry(RestStore(found), where)
    from promoter.model_registry.client import ClientStore

    return ModelRegistry(ClientStore(found), where)


class ModelRegistry:
    """MLflow's model registry at `where`. Not for use by several threads at once."""

    def __init__(self, store: Store, where: str) -> None:
        self._store, self.where = store, where

    def version_of(self, name: str, alias: str) -> str | None:
        """The number of `at_alias`. Raises as that does."""
        found = self.at_alias(name, alias)
        return found.version if found else None

    def at_alias(self, name: str, alias: str) -> RegisteredVersion | None:
        """The version that the alias (or `stage/Production`) points to now, None when it points to none.

        Raises:
            UsageError: no such registered model, or no alias can be called so.
            AuthError, UnreachableError: MLflow does not let us, or does not answer.
        """
        try:
            return self._named(ModelReference.at(name, alias))
        except NotFound:
            self._aliases(name)
            return None

    def listed(self, names: Collection[str], most: int) -> Mapping[str, Registered]:
        """Those of the models that are on the first pages of all, `most` of them; empty where pages have no aliases.

        Raises:
            AuthError, UnreachableError: MLflow does not let us, or does not answer.
        """
        found: dict[str, Registered] = {}
        for page in itertools.islice(self._store.pages(), most):
            found |= {one.name: one for one in page if one.name in names}
            if len(found) == len(names):
                break
        return found if any(one.aliases for one in found.values()) else {}

    def aliases_and_versions(self, name: str) -> tuple[Mapping[str, str], Sequence[str]]:
        """Which version each alias of the model points to, and its newest versions, the newest first. Raises as `at_alias`."""
        return self._aliases(name), self._store.versions(name)

    def resolve(self, reference: ModelReference) -> ModelVersion:
        """Everything about the version that the reference points to now; only its MLmodel and requirements.txt are read.

        Raises:
            UsageError: no such model, version, alias or stage.
            RefusedError: the version is not complete: not READY, its logged model not LOGGED_MODEL_READY, no MLmodel file.
            AuthError, UnreachableError: MLflow or the artifact store does not let us, or does not answer.
        """
        registered = self.registered(reference)
        _require_ready(registered)
        logged = self._source(registered)
        uri = logged.artifact_uri if logged else self._store.download_uri(registered)
        artifacts = self._store.artifacts(uri)
        files = {file.path: file for file in artifacts.list(registered.created)}
        if "MLmodel" not in files:
            raise RefusedError(
                f"{_name(registered)} has no MLmodel file in {uri}",
                hint="its upload did not finish, or it is not an MLflow model: log it again and register that",
            )
        described = mlmodel.parse(_content(artifacts, files["MLmodel"]), reference=_name(registered))
        logged = logged or self._copied(registered, described.model_id)
        required = _content(artifacts, files["requirements.txt"]) if "requirements.txt" in files else b""
        return ModelVersion(
            name=registered.name,
            version=registered.version,
            created=registered.created,
            artifact_uri=uri,
            files=tuple(files.values()),
            run_id=registered.run_id,
            model_id=logged.model_id if logged else described.model_id,
            stage=registered.stage,
            description=registered.description,
            aliases=registered.aliases,
            tags=registered.tags,
            metrics=self._metrics(registered, logged),
            flavors=tuple(described.flavors),
            pickled=pickled(described.flavors, files),
            signature=described.signature,
            requirements=mlmodel.requirements(required),
        )

    @contextmanager
    def open(self, version: ModelVersion, file: ModelFile) -> Iterator[Reader]:
        """The bytes of one file of a resolved version, as they come.

        Raises:
            RefusedError: the file is not as it was listed: somebody changed it in MLflow.
            AuthError, UnreachableError: the artifact store does not let us, does not answer, or broke off.
        """
        with self._store.artifacts(version.artifact_uri).open(file) as content:
            measured = _Measured(content, version.reference, file)
            yield measured
            measured.finish()

    def metrics(self, reference: ModelReference, created: datetime | None = None) -> Mapping[str, float]:
        """Those of the version: of its run, and of the logged model that it was registered from. None of its files is read.

        A version of that number that was not `created` then is another one, and has none.

        Raises:
            UsageError: no such model, version, alias or stage.
            RefusedError: its logged model is gone or not complete.
            AuthError, UnreachableError: MLflow does not let us, or does not answer.
        """
        registered = self.registered(reference)
        if created is not None and registered.created.replace(microsecond=0) != created:
            return {}
        return self._metrics(registered, self._source(registered))

    def parameters(self, version: ModelVersion) -> Mapping[str, str]:
        """Those of the version's run; none when it was deleted or belongs to another MLflow.

        Raises:
            AuthError, UnreachableError: MLflow does not let us, or does not answer.
        """
        try:
            return self._store.run_parameters(version.run_id) if version.run_id else {}
        except NotFound:
            return {}

    def set_tag(self, name: str, version: str, key: str, value: str) -> None:
        """Describes a version for people. A tag decides nothing: whoever may edit a model may set its tags.

        Raises:
            UsageError: no such version.
            AuthError, UnreachableError: MLflow does not let us, or does not answer.
        """
        self._store.set_tag(name, version, key, value)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        """Points the alias to a version. MLflow has no compare-and-swap: whoever asks looks at it right before.

        Raises:
            UsageError: no such version.
            AuthError, UnreachableError: MLflow does not let us, or does not answer.
        """
        self._store.set_alias(name, alias, version)

    def _named(self, reference: ModelReference) -> RegisteredVersion:
        if reference.version is not None:
            return self._store.by_version(reference.name, reference.version)
        if reference.alias is not None:
            return self._store.by_alias(reference.name, reference.alias)
        if reference.stage is not None:
            return self._store.by_stage(reference.name, None if reference.stage == LATEST else reference.stage)
        raise UsageError(f"{reference} names no version", hint=f"write {reference}@alias or {reference}:version")

    def registered(self, reference: ModelReference) -> RegisteredVersion:
        """The version that the reference points to now, as the registry has it: none of its files is looked at.

        Raises:
            UsageError: no such model, version, alias or stage.
            AuthError, UnreachableError: MLflow does not let us, or does not answer.
        """
        try:
            return self._named(reference)
        except NotFound:
            aliases = self._aliases(reference.name)
        if reference.version is not None or reference.stage == LATEST:
            raise self._no_version(reference)
        pointers = ", ".join(f"{alias} (version {version})" for alias, version in sorted(aliases.items()))
        raise UsageError(
            f"MLflow at {self.where} has no {reference}",
            hint=f"the aliases of {reference.name} are {pointers}"
            if pointers
            else f"{reference.name} has no alias yet: set one in MLflow",
        )

    def _no_version(self, reference: ModelReference) -> UsageError:
        try:
            newest = self._store.by_stage(reference.name, None).version
        except NotFound:
            hint = f"{reference.name} has no version yet: register one"
        else:
            hint = f"the newest version of {reference.name} is {newest}"
        return UsageError(f"MLflow at {self.where} has no {reference}", hint=hint)

    def _aliases(self, name: str) -> Mapping[str, str]:
        try:
            return self._store.aliases(name)
        except NotFound:
            raise UsageError(
                f"MLflow at {self.where} has no registered model {name!r}",
                hint="check the spelling, and that this is the MLflow you mean (MLFLOW_TRACKING_URI, MLFLOW_REGISTRY_URI)",
            ) from None

    def _source(self, registered: RegisteredVersion) -> LoggedModel | None:
        """The logged model that the version was registered from; without it, the version has lost its files."""
        model_id = registered.source.removeprefix("models:/")
        if model_id == registered.source or not model_id.startswith("m-") or "/" in model_id:
            return None
        try:
            logged = self._store.logged_model(model_id)
        except NotFound:
            raise RefusedError(
                f"{_name(registered)} was registered from the logged model {model_id}, which MLflow no longer has",
                hint="register the model again from a logged model that exists",
            ) from None
        _require_logged(registered, logged)
        return logged

    def _copied(self, registered: RegisteredVersion, model_id: str | None) -> LoggedModel | None:
        """The logged model that MLmodel names, for a copy of another version: it may be deleted by now, the files stay."""
        try:
            logged = self._store.logged_model(model_id) if model_id else None
        except NotFound:
            return None
        if logged:
            _require_logged(registered, logged)
        return logged

    def _metrics(self, registered: RegisteredVersion, logged: LoggedModel | None) -> Mapping[str, float]:
        """Those of the run are missing when it was deleted or belongs to another MLflow."""
        known = logged.metrics if logged else {}
        try:
            return {**(self._store.run_metrics(registered.run_id) if registered.run_id else {}), **known}
        except NotFound:
            return known


class _Measured:
    """Counts what is read: an image layer announces the listed size, so another one must not pass unseen."""

    def __init__(self, content: Reader, reference: str, file: ModelFile) -> None:
        self._content, self._reference, self._file = content, reference, file
        self._read = 0

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._content.read(size)
        self._read += len(chunk)
        if self._read > self._file.size or (not chunk and size != 0 and self._read < self._file.size):
            raise self._changed()
        return chunk

    def finish(self) -> None:
        """Raises when a file that was read to its listed size goes on."""
        if self._read == self._file.size and self._content.read(1):
            raise self._changed()

    def _changed(self) -> RefusedError:
        return RefusedError(
            f"{self._file.path} of {self._reference} is not the {self._file.size} bytes that MLflow listed",
            hint="somebody changed the files of this version: run again, or register a new version",
        )


def _name(registered: RegisteredVersion) -> str:
    return f"{registered.name}:{registered.version}"


def _require_ready(registered: RegisteredVersion) -> None:
    if registered.status != _READY:
        reason = f": {registered.status_message}" if registered.status_message else ""
        raise RefusedError(
            f"{_name(registered)} is {registered.status} in MLflow, not READY{reason}",
            hint="wait until its registration is done; after a failed one, register the model again",
        )


def _require_logged(registered: RegisteredVersion, logged: LoggedModel) -> None:
    if logged.status != _READY:
        raise RefusedError(
            f"{_name(registered)} was registered from {logged.model_id}, which is not READY but LOGGED_MODEL_{logged.status}",
            hint="its files are not complete: finish the upload, or log the model again and register that",
        )


def _content(artifacts: Artifacts, file: ModelFile) -> bytes:
    if file.size > _LARGEST_TEXT:
        raise RefusedError(
            f"{file.path} has {file.size} bytes: too large to be one of MLflow's metadata files",
            hint="look at the model's files",
        )
    with artifacts.open(file) as content:
        return content.read(file.size)
