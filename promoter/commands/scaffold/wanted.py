"""What somebody wants scaffolded: a model, its environments, and the addresses of what it meets there."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from promoter.config.names import image_name
from promoter.errors import UsageError
from promoter.errors.redaction import without_credentials
from promoter.models import Ci, Serving, Workload

_ENVIRONMENT = re.compile(r"[a-z0-9]([a-z0-9-]*[a-z0-9])?")
_ALIASES = {"staging": "challenger", "production": "champion"}
_LONGEST = 63  # characters of a namespace's name
_SERVICE = "inference-service"  # in the base, which all models share
_ACTION, _COMMIT = re.compile(r"[\w.-]+/[\w.-]+@[\w./-]+"), re.compile(r"@[0-9a-f]{40}$")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One model in its environments. `registry` is host and prefix of its images, `repo` what Argo CD reads, at `branch`.

    `action` is where pipelines find promoter, OWNER/REPOSITORY@REF. "" for an address that is not known. With a server of one's
    own, `overlays` are those that exist, {environment} in it, and `container` serves the model, where they have several.
    `named`: resources carry the model's name, and pods are selected by it; those of earlier versions' scaffolds do not.

    Raises:
        UsageError: a name can't be meant.
    """

    model: str
    registry: str
    repo: str
    environments: tuple[str, ...] = ("staging", "production")
    branch: str = "main"
    argocd: str = ""
    mlflow: str = ""
    workload: Workload = Workload.ROLLOUT
    ci: Ci = Ci.NONE
    action: str = ""
    serving: Serving = Serving.PROMOTER
    overlays: str = "overlays/{environment}"
    container: str = ""
    named: bool = False

    def __post_init__(self) -> None:
        self._require_names()
        self._require_no_secret()
        self._require_action()

    def _require_names(self) -> None:
        if not self.model or any(ord(char) < 32 or char in "/:" for char in self.model):
            raise UsageError(
                f"{self.model!r} can't be the name of a registered model", hint="MLflow allows neither / nor : in it"
            )
        for name in self.environments:
            if not _ENVIRONMENT.fullmatch(name) or len(self.namespace(name)) > _LONGEST:
                raise UsageError(
                    f"{name!r} can't be the name of an environment", hint="use lower-case letters, digits and hyphens"
                )
        if not self.environments or len(set(self.environments)) != len(self.environments):
            raise UsageError("environments are one or several different names", hint="--environments staging,production")
        if len({self.own_overlay(name) for name in self.environments}) != len(self.environments):
            raise UsageError(
                f"{self.overlays!r} is one folder for several environments", hint="write {environment} where their names stand"
            )

    def _require_no_secret(self) -> None:
        """All of it is committed."""
        for option, address in (("--repo", self.repo), ("--mlflow", self.mlflow)):
            parts = urlsplit(address)
            if parts.password is not None or (parts.username is not None and parts.scheme in ("http", "https")):
                raise UsageError(
                    f"{option} has a user name or password in it, which would be committed",
                    hint=f"{option} {without_credentials(address)}, and the credential in the environment",
                )

    def _require_action(self) -> None:
        if self.ci is not Ci.NONE and not _ACTION.fullmatch(self.action):
            raise UsageError(
                "the pipelines need the repository that has promoter",
                hint="--action OWNER/REPOSITORY@COMMIT (for Azure a tag), or --ci none",
            )
        if self.ci is Ci.AZURE and _COMMIT.search(self.action):
            raise UsageError(
                f"--action {self.action}: Azure Pipelines takes another repository's tag or branch, and no commit",
                hint="--action OWNER/REPOSITORY@TAG, or @refs/heads/BRANCH",
            )

    @property
    def name(self) -> str:
        """The model's name where a DNS name is needed."""
        return image_name(self.model)

    @property
    def service(self) -> str:
        """The name of the Service that clients use.

        Each Service's name is a DNS label (RFC 1035): it begins with a letter, and has at most 63 characters.
        """
        if not self.named:
            return _SERVICE
        name = self.name if self.name[0].isalpha() else f"model-{self.name}"
        return f"{name[: _LONGEST - len(f'-{_SERVICE}-canary')].rstrip('-')}-{_SERVICE}"

    @property
    def image(self) -> str:
        return f"{self.registry.rstrip('/')}/{self.name}"

    def namespace(self, environment: str) -> str:
        return f"{self.name}-{environment}"

    def overlay(self, environment: str) -> str:
        return f"overlays/{self.name}/{environment}"

    def own_overlay(self, environment: str) -> str:
        """The one that exists, from the repository's root."""
        return posixpath.normpath(self.overlays.replace("{environment}", environment))

    def application(self, environment: str) -> str:
        """The file of its manifest."""
        return f"environments/{self.namespace(environment)}.yaml"

    @staticmethod
    def alias(environment: str) -> str:
        """The alias that an environment of this name follows."""
        return _ALIASES.get(environment, environment)
