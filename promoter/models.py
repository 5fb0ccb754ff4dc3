"""The values that travel through promoter, left to right: frozen, parsed once, without behaviour that does I/O."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any

# -- model registry ---------------------------------------------------------------------------------------------------


MOST_FILES = 10_000
"""Files of a model version, and folders, unless image.max-files allows more."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model version: `path` relative to the model's folder, `size` in bytes, `etag` if the store has one."""

    path: str
    size: int
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Signature:
    """The model's inputs and outputs, as MLflow writes it in MLmodel (lists of column or tensor specs)."""

    inputs: tuple[Mapping[str, Any], ...] = ()
    outputs: tuple[Mapping[str, Any], ...] = ()
    params: tuple[Mapping[str, Any], ...] = ()


def columns(specs: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """(name, type) of each column or tensor that MLmodel lists; a tensor may have no name."""
    return [(str(spec.get("name") or ""), _kind(spec)) for spec in specs]


def _kind(spec: Mapping[str, Any]) -> str:
    kind = spec.get("type", "")
    if kind == "tensor":
        tensor = spec.get("tensor-spec", {})
        return f"{tensor.get('dtype')}{tensor.get('shape')}"
    return str(kind)


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One registered model version, resolved: what an alias pointed to at one moment, never again by that alias.

    `created` is in UTC; `artifact_uri` is where its files are; `files` is the listing without content.
    `pickled` are the paths of those that are unpickled when it is loaded.
    """

    name: str
    version: str
    created: datetime
    artifact_uri: str
    files: tuple[ModelFile, ...]
    run_id: str | None = None
    model_id: str | None = None
    stage: str | None = None
    description: str = ""
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    flavors: tuple[str, ...] = ()
    pickled: tuple[str, ...] = ()
    signature: Signature | None = None
    requirements: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files)

    @property
    def reference(self) -> str:
        """`name:version`, which always means this version."""
        return f"{self.name}:{self.version}"


# -- image and release ------------------------------------------------------------------------------------------------


class Origin(StrEnum):
    """How a blob came to be in an image's repository."""

    THERE = "already there"
    MOUNTED = "mounted"
    SENT = "sent"


class Builder(StrEnum):
    """What makes a runtime: a Docker engine, or promoter itself, which unpacks wheels onto a base that it only reads."""

    ENGINE = "engine"
    UNPACK = "unpack"


class Role(StrEnum):
    """What a blob is in an image: its config, a layer of the runtime underneath, or the model's layer."""

    CONFIG = "config"
    RUNTIME = "runtime"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Blob:
    """One blob of an image: `size` in bytes as it is stored."""

    role: Role
    digest: str
    size: int
    origin: Origin = Origin.THERE


@dataclass(frozen=True, slots=True)
class Image:
    """A published image: `digest` is that of its manifest, `content_digest` that of the model files that it serves.

    `size` is the bytes of the model layer, 0 if the server downloads the model. `blobs` and `copied_from`, the repository
    of another environment that had the image, tell how this run came to it and do not make it another image.
    """

    repository: str
    tag: str
    digest: str
    content_digest: str
    size: int = 0
    reused: bool = False
    blobs: tuple[Blob, ...] = field(default=(), compare=False)
    copied_from: str = field(default="", compare=False)

    @property
    def reference(self) -> str:
        return f"{self.repository}:{self.tag}@{self.digest}"

    @property
    def total_size(self) -> int:
        """Bytes of all blobs together."""
        return sum(blob.size for blob in self.blobs)

    @property
    def sent(self) -> int:
        """Bytes that this run had to send."""
        return sum(blob.size for blob in self.blobs if blob.origin is Origin.SENT)


@dataclass(frozen=True, slots=True)
class Release:
    """What an overlay deploys for one model: the model version with its content digest, and the image that serves it."""

    model: str
    version: str
    model_digest: str
    repository: str
    tag: str
    digest: str

    @property
    def image(self) -> str:
        return f"{self.repository}:{self.tag}@{self.digest}"


@dataclass(frozen=True, slots=True)
class Container:
    """What a pod gives a release's container: its memory limit in bytes, and the variables whose values are written down."""

    memory: int | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


NO_LIMITS = Container()


# -- configuration ----------------------------------------------------------------------------------------------------


class Compress(StrEnum):
    """How a model layer is stored."""

    NONE = "none"
    GZIP = "gzip"


class Embed(StrEnum):
    """Where a server finds its model: in a layer of its image, behind a URI that it downloads, or in an image of its own."""

    EMBED = "embed"
    URI = "uri"
    VOLUME = "volume"


class Format(StrEnum):
    """What a model alone is published as: an image that container runtimes mount, or an artifact of the CNCF's ModelPack."""

    OCI = "oci"
    MODELPACK = "modelpack"


class Strategy(StrEnum):
    """How an image is made: the model as a layer on a runtime, or all of it by the Docker engine."""

    LAYER = "layer"
    BUILD = "build"


class OnAlias(StrEnum):
    PROMOTE = "promote"
    IGNORE = "ignore"


class Labelling(StrEnum):
    """What promoter writes into MLflow about releases."""

    TAGS = "tags"
    ALIASES = "aliases"
    BOTH = "both"
    OFF = "off"


class Switch(StrEnum):
    ON = "on"
    OFF = "off"


class Write(StrEnum):
    PUSH = "push"
    PULL_REQUEST = "pull-request"


class CommitBy(StrEnum):
    """Who makes a commit that is pushed directly: git here, or GitHub through its API."""

    PUSH = "push"
    GITHUB_API = "github-api"


class OnFailure(StrEnum):
    RESTORE = "restore"
    PULL_REQUEST = "pull-request"
    HOLD = "hold"


class OnFailureAlias(StrEnum):
    KEEP = "keep"
    MOVE_BACK = "move-back"


class OnWaveFailure(StrEnum):
    """What becomes of an environment that has got a release when that fails in another one of its group."""

    HOLD = "hold"
    REVERT = "revert"


class MergeMethod(StrEnum):
    MERGE = "merge"
    SQUASH = "squash"
    REBASE = "rebase"


class ForgeKind(StrEnum):
    GITHUB = "github"
    AZURE_DEVOPS = "azure-devops"


class NoticeKind(StrEnum):
    """The kind of a notice (docs/notices.md lists the endings of each)."""

    STARTED = "started"
    LIVE = "live"
    RESTORED = "restored"
    SUPERSEDED = "superseded"
    FAILED = "failed"
    NEEDS_PERSON = "needs-a-person"
    REJECTED = "rejected"
    ALLOWED = "allowed"
    FROZEN = "frozen"
    THAWED = "thawed"


@dataclass(frozen=True, slots=True)
class PullRequestPolicy:
    """How pull requests of an environment are opened; `timeout` is how many seconds `--wait` waits for the merge."""

    labels: tuple[str, ...] = ()
    reviewers: tuple[str, ...] = ()
    auto_merge: MergeMethod | None = None
    draft: bool = False
    branch_prefix: str = "promoter"
    timeout: float = 3600.0


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model as promoter.yaml names it: image repository, `images:` entry and release file of its overlays.

    `smoke`: whether its images are started once before a commit; None: where a Docker engine answers.
    """

    name: str
    repository: str
    image_name: str
    release_file: str
    smoke: bool | None = None


HEAD = "HEAD"
"""The `targetRevision` that means the remote's default branch; an Application without one has it, too."""


@dataclass(frozen=True, slots=True)
class Application:
    """The Argo CD Application of an environment, from its manifest: the server, and repository, branch and path.

    `default_branch`: it follows HEAD, and `target_revision` is what that was when promoter asked. `image_overrides` are those
    of the manifest.
    """

    name: str
    project: str
    namespace: str
    repo_url: str
    path: str
    target_revision: str
    default_branch: bool = False
    image_overrides: tuple[str, ...] = ()


def source_path(text: str) -> str:
    """The path of an Application's source in one spelling: `./overlays/x/` is `overlays/x`."""
    return posixpath.normpath(text) if text else ""


@dataclass(frozen=True, slots=True)
class Window:
    """When nothing is promoted: for `seconds` from each time of `cron`, or from one day to another, as in `zone`."""

    name: str
    zone: str
    cron: str = ""
    seconds: float = 0.0
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class InGroup:
    """An environment's place in a group, whose environments are promoted to wave by wave, 1 first.

    `soak`: seconds for which a release must have been live before the next wave begins. `region` is a word for people.
    """

    name: str
    wave: int = 1
    soak: float = 0.0
    on_failure: OnWaveFailure = OnWaveFailure.HOLD
    region: str = ""


@dataclass(frozen=True, slots=True)
class Environment:
    """One model in one environment. `workloads` are the names of those that count; empty: all that carry the release.

    `require_analysis`: a release that is live needs a person if no analysis of it is seen.
    """

    name: str
    model: Model
    application: Application
    alias: str | None = None
    on_alias: OnAlias = OnAlias.IGNORE
    write: Write = Write.PUSH
    on_failure: OnFailure = OnFailure.RESTORE
    on_failure_alias: OnFailureAlias = OnFailureAlias.KEEP
    pull_request: PullRequestPolicy = PullRequestPolicy()
    workloads: tuple[str, ...] = ()
    freeze: tuple[Window, ...] = ()
    require_analysis: bool = False
    group: InGroup | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it: its name and its model's."""
        return self.name, self.model.name


# -- gates ------------------------------------------------------------------------------------------------------------


class Result(StrEnum):
    """What a gate decided."""

    PASSED = "passed"
    WARNED = "warned"
    REFUSED = "refused"
    OVERRIDDEN = "overridden"
    """It refused, and a person who may lets the version pass."""


@dataclass(frozen=True, slots=True)
class Ruling:
    """`gate` is its key under `gates:`, or the name of one that always stands; `about` what of it was asked, "" for all."""

    gate: str
    about: str
    result: Result
    detail: str
    hint: str = ""
    _error: Exception | None = field(default=None, repr=False, compare=False)

    @property
    def error(self) -> Exception | None:
        """What a gate that always stands raised: its words name version and environment themselves."""
        return self._error

    @property
    def name(self) -> str:
        return f"{self.gate} {self.about}".rstrip()


# -- change and outcome -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Change:
    """One scalar of one file: `key` is its path (`images[fraud-detector].newTag`); `old` is None if it was absent."""

    file: str
    key: str
    old: str | None
    new: str


class Status(StrEnum):
    """How a step ended. Failed: a rule refused. Errored: the machinery broke."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    FAILED = "failed"
    ERRORED = "errored"


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    status: Status
    detail: str = ""
    seconds: float = 0.0


# -- scaffold ---------------------------------------------------------------------------------------------------------


class Workload(StrEnum):
    """How a release replaces the one before it."""

    ROLLOUT = "rollout"
    BLUE_GREEN = "blue-green"
    DEPLOYMENT = "deployment"


class Serving(StrEnum):
    """Whose server answers for the model: promoter's, on the manifests that it ships, or one that has an overlay already."""

    PROMOTER = "promoter"
    OWN = "own"


class Ci(StrEnum):
    """The pipeline that promotes."""

    GITHUB = "github"
    AZURE = "azure"
    NONE = "none"
