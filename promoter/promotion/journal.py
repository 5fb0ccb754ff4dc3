"""What promoter's commits record in their trailers: which release, which failure, which decision of a person.

The only module that spells a trailer's key. https://git-scm.com/docs/git-interpret-trailers
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

from promoter import __version__
from promoter.errors.redaction import clean, inert
from promoter.gitops import Commit, Proposal
from promoter.machine import tracing
from promoter.models import Environment, Model, Release

# In the order in which a message has them.
_KEYS = {
    "promotion_id": "Promotion-Id",
    "restores": "Restores",
    "model": "Model",
    "version": "Model-Version",
    "model_digest": "Model-Digest",
    "image": "Image",
    "environment": "Environment",
    "abort": "Rollout-Abort",
    "failed_version": "Failed-Version",
    "quarantined": "Quarantined",
    "rolled_back_version": "Rolled-Back-Version",
    "rejected_version": "Rejected-Version",
    "lifted_version": "Lifted-Version",
    "freeze": "Freeze",
    "overridden": "Overridden-Gates",
    "requested_by": "Requested-By",
    "reason": "Reason",
    "promoter": "Promoter-Version",
    "traceparent": "Traceparent",
}
_CIRCUMSTANCES = ("requested_by", "reason", "promoter", "traceparent")
"""Who asked, why, which promoter, in which trace: another value of them makes no other proposal."""

_WORDS = frozenset({_KEYS["abort"], _KEYS["overridden"]})
"""Those in which somebody's own words stand."""

KEYS = frozenset(key.lower() for name, key in _KEYS.items() if name not in _CIRCUMSTANCES)
"""The trailers that promoter alone writes, in lower case."""

PATTERN = "^\\(Promotion-Id\\|Failed-Version\\|Rolled-Back-Version\\): "
"""A line of every message that records something about a version, as a basic regular expression."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What one commit records; "" where it does not.

    `restores` is the commit whose release is deployed again, `abort` the reason of a failed rollout, `quarantined` the
    versions (NAME:VERSION, one a line) that must not be deployed again. `lifted_version` was rejected before. `freeze` is until
    when nothing is promoted. `overridden` are the gates that a person let pass, and why. `requested_by` is the person who
    started the pipeline, `reason` why, `promoter` the version of promoter that made the commit, `traceparent` the span in which
    it did (W3C Trace Context), if there was one.
    """

    promotion_id: str = ""
    restores: str = ""
    model: str = ""
    version: str = ""
    model_digest: str = ""
    image: str = ""
    environment: str = ""
    abort: str = ""
    failed_version: str = ""
    quarantined: str = ""
    rolled_back_version: str = ""
    rejected_version: str = ""
    lifted_version: str = ""
    freeze: str = ""
    overridden: str = ""
    requested_by: str = ""
    reason: str = ""
    promoter: str = ""
    traceparent: str = ""

    @property
    def by_promoter(self) -> bool:
        """promoter made the commit; it is not a person's."""
        return bool(self.promotion_id or self.restores or self.rejected_version or self.lifted_version or self.freeze)

    def is_of(self, environment: Environment) -> bool:
        return self.environment == environment.name and self.model == _on_one_line(environment.model.name)

    def may_be_of(self, environment: Environment) -> bool:
        """As `is_of`, if the commit names an environment and a model."""
        named = (self.environment or environment.name, self.model or _on_one_line(environment.model.name))
        return named == (environment.name, _on_one_line(environment.model.name))

    def release(self, model: Model) -> Release:
        """The release that the commit records."""
        image, _, digest = self.image.partition("@")
        repository, _, tag = image.rpartition(":")
        return Release(model.name, self.version, self.model_digest, repository, tag, digest)

    def trailers(self) -> tuple[tuple[str, str], ...]:
        values = ((key, getattr(self, name)) for name, key in _KEYS.items())
        return tuple((key, inert(value) if key in _WORDS else value) for key, value in values if value)


def of(commit: Commit) -> Entry:
    """What the commit records."""
    return _entry(commit.trailers)


def proposed(trailers: Mapping[str, str]) -> Entry:
    """What a pull request's commit will record, by the trailers at the end of its body."""
    return _entry(trailers)


def promotion(environment: Environment, release: Release, promotion_id: str, *, overridden: str = "") -> Entry:
    return _released(environment, release, promotion_id=promotion_id, overridden=overridden)


def restore(
    environment: Environment,
    stable: Release,
    commit: str,
    bad: Release,
    abort: str,
    *,
    quarantine: bool,
    promotion_id: str = "",
) -> Entry:
    """`stable`, which `commit` deployed, is deployed again because `bad` was aborted or failed.

    `promotion_id`: that of the group's promotion which brought `bad`.
    """
    quarantined = f"{bad.model}:{bad.version}" if quarantine else ""
    failure = {"abort": abort, "failed_version": bad.version, "quarantined": quarantined}
    return _released(environment, stable, restores=commit, promotion_id=promotion_id, **failure)


def rollback(environment: Environment, target: Release, commit: str, current: Release, promotion_id: str = "") -> Entry:
    """`target`, which `commit` deployed, is deployed again because a person does not want `current`.

    `promotion_id`: or because this promotion of the environment's group failed.
    """
    back = {"restores": commit, "rolled_back_version": current.version}
    return _released(environment, target, promotion_id=promotion_id, **back)


def rejection(environment: Environment, version: str, *, lift: bool) -> Entry:
    """A person does not want the version, which is not deployed; or takes that back."""
    decided = {"lifted_version" if lift else "rejected_version": version}
    return Entry(model=environment.model.name, environment=environment.name, **decided)


def rejection_of_deployed(environment: Environment, target: Release, commit: str, rejected: Release) -> Entry:
    """As `rollback`, and `rejected` is never deployed again."""
    return _released(environment, target, restores=commit, rejected_version=rejected.version)


def freeze(environment: Environment, until: str) -> Entry:
    """Nothing is promoted `until TIME` or `until thawed`; or it is `thawed`."""
    return Entry(model=environment.model.name, environment=environment.name, freeze=until)


def circumstances(by: str, reason: str, proposal: Proposal) -> tuple[tuple[str, str], ...]:
    """Trailers of who started the run that makes the commit, why, which promoter it is, in which trace; "" if not known.

    Nobody asked for a restore: the reason of the promotion that it undoes would be read as its own.
    """
    asked = _KEYS["failed_version"] not in dict(proposal.trailers)
    known = {"requested_by": by if asked else "", "reason": reason if asked else ""}
    texts = {name: inert(_on_one_line(text)) if text else "" for name, text in known.items()}
    texts |= {"promoter": __version__, "traceparent": tracing.traceparent() if tracing.on else ""}
    return tuple((_KEYS[name], texts[name]) for name in _CIRCUMSTANCES)


def quarantines(entry: Entry, model: str) -> bool:
    """The commit quarantined the version that failed."""
    return _on_one_line(f"{model}:{entry.failed_version}") in entry.quarantined.split("\n")


def same_release(these: Mapping[str, str], those: Mapping[str, str]) -> bool:
    """Whether two commits record the same. The promotion id does not count: it depends on the release that was replaced."""
    others = ("promotion_id", *_CIRCUMSTANCES)
    return all(these.get(key) == those.get(key) for name, key in _KEYS.items() if name not in others)


def _entry(trailers: Mapping[str, str]) -> Entry:
    return Entry(**{field.name: trailers.get(_KEYS[field.name], "") for field in fields(Entry)})


def _released(environment: Environment, release: Release, **record: str) -> Entry:
    return Entry(
        model=release.model,
        version=release.version,
        model_digest=release.model_digest,
        image=release.image,
        environment=environment.name,
        **record,
    )


def _on_one_line(text: str) -> str:
    """As a trailer holds it."""
    return " ".join(clean(text).split())
