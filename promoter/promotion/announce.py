"""Notices about promotions, made from how they end. Nothing here fails or delays a promotion."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from promoter.argocd.client import base_url
from promoter.errors import ExitCode, PromoterError, without_credentials
from promoter.machine.interrupts import Interrupted
from promoter.models import Environment, NoticeKind, Release
from promoter.notify import links
from promoter.notify.notice import Link, Notice
from promoter.promotion import journal, releases
from promoter.promotion.ending import MEANINGS, Ended, Ending, Opened
from promoter.promotion.message import metrics_in
from promoter.verdict import Verdict

if TYPE_CHECKING:
    from promoter.gitops import Repository
    from promoter.promotion.clients import Clients
    from promoter.promotion.releases import Committed

_LOOKED_BACK = 20  # commits of the overlay: finding the previous version is not worth reading more


@dataclass(frozen=True, slots=True)
class Announcer:
    """Sends notices about one environment to the configured channels."""

    clients: Clients
    environment: Environment

    # -- a release that is followed -----------------------------------------------------------------------------------

    def begun(self, repository: Repository, committed: Committed, *, found: bool) -> Notice:
        """Announces that a release is watched; returns the notice, which `ended` and `broke` continue.

        `found`: it had ended already, maybe at an earlier look too: its beginning is not announced.
        """
        previous = "" if self.clients.notifier.silent else _version_before(repository, self.environment, committed)
        notice = replace(self._of(committed), previous=previous, standing=found)
        if not found:
            self.clients.notifier.notify(notice)
        return notice

    def ended(self, begun: Notice, ending: Ending) -> None:
        kind = MEANINGS[ending.exit_code].notice
        self.clients.notifier.notify(
            replace(
                begun,
                kind=kind,
                standing=begun.standing and kind is NoticeKind.NEEDS_PERSON,
                sentence=_sentence(ending),
                evidence=ending.verdict.evidence,
                links=(
                    *begun.links,
                    *self._commit_link("commit that restores", ending.restored or ""),
                    *_link("pull request", ending.pull_request.url if ending.pull_request else ""),
                ),
            )
        )

    def broke(self, begun: Notice, error: PromoterError | Interrupted) -> None:
        """Watching ended by an error or a signal: what became of the release is not known here."""
        sentence = f"promoter stopped watching it: {error}"
        self.clients.notifier.notify(replace(begun, kind=NoticeKind.FAILED, sentence=sentence))

    # -- pull requests ------------------------------------------------------------------------------------------------

    def proposed(
        self, release: Release, opened: Opened | None, before: Release | None = None, metrics: Iterable[str] = ()
    ) -> None:
        """Announces a pull request that waits for people, if this run opened it; `metrics` as its commit has them."""
        if opened is not None and opened.done == "opened":
            sentence = f"a pull request waits for review: {opened.title}"
            notice = self._of_pull_request(release, opened, NoticeKind.NEEDS_PERSON, sentence)
            previous = before.version if before else ""
            self.clients.notifier.notify(replace(notice, previous=previous, metrics=_on_one_line(metrics)))

    def unmerged(self, release: Release, opened: Opened, ended: Ended) -> None:
        """The pull request was waited for, and did not get into the branch."""
        self.clients.notifier.notify(self._of_pull_request(release, opened, MEANINGS[ended.exit_code].notice, ended.detail))

    # -- what a person decides -----------------------------------------------------------------------------------------

    def decided(self, kind: NoticeKind, sentence: str, commit: str | None, opened: Opened | None, version: str = "") -> None:
        """A person rejected a version, froze the environment, or took that back: committed, or proposed for review."""
        if opened is None and commit is None:
            return  # that is how it was before
        sentence = f"{sentence}; a pull request proposes it" if opened else sentence
        notice = self._notice(opened.url if opened else str(commit), version=version, kind=kind, sentence=sentence)
        written = _link("pull request", opened.url) if opened else self._commit_link("commit", str(commit))
        self.clients.notifier.notify(replace(notice, links=(*written, *notice.links)))

    # -- what reconcile finds at each look ----------------------------------------------------------------------------

    def stands(self, committed: Committed, verdict: Verdict, exit_code: ExitCode) -> None:
        """A release stands where only a person can help."""
        if (kind := MEANINGS[exit_code].notice) is not NoticeKind.SUPERSEDED:
            found = replace(self._of(committed), kind=kind, sentence=_of_verdict(verdict), evidence=verdict.evidence)
            self.clients.notifier.notify(replace(found, standing=True))

    def refused(self, error: PromoterError) -> None:
        """What should be done was refused, or can't be done as things are."""
        if not MEANINGS[error.exit_code].passes:
            notice = self._notice(error.message, version="", kind=MEANINGS[error.exit_code].notice, sentence=error.message)
            self.clients.notifier.notify(replace(notice, evidence=(error.hint,) if error.hint else (), standing=True))

    def links_of(self, committed: Committed) -> tuple[Link, ...]:
        """The pages of a release, as far as their addresses are known."""
        return (*self._commit_link("commit", committed.commit.sha), *self._links(committed.release.version))

    # -- inside -------------------------------------------------------------------------------------------------------

    def _of(self, committed: Committed) -> Notice:
        sha, version = committed.commit.sha, committed.release.version
        overridden = journal.of(committed.commit).overridden
        sentence = f"version {version} is committed, and is being watched: {committed.commit.subject}"
        sentence += f"; gates overridden: {overridden}" if overridden else ""
        notice = self._notice(sha, version=version, kind=NoticeKind.STARTED, sentence=sentence)
        links = (*self._commit_link("commit", sha), *notice.links)
        return replace(notice, commit=sha, links=links, metrics=_on_one_line(metrics_in(committed.commit.text)))

    def _of_pull_request(self, release: Release, opened: Opened, kind: NoticeKind, sentence: str) -> Notice:
        notice = self._notice(opened.url, version=release.version, kind=kind, sentence=sentence)
        return replace(notice, links=(*_link("pull request", opened.url), *notice.links))

    def _notice(self, of: str, *, version: str, kind: NoticeKind, sentence: str) -> Notice:
        """`of` is what makes it another promotion: the commit, the pull request."""
        name, model = self.environment.name, self.environment.model.name
        return Notice(
            id=hashlib.sha256("\0".join((name, model, of)).encode()).hexdigest()[:16],
            kind=kind,
            environment=name,
            model=model,
            version=version,
            sentence=sentence,
            repository=without_credentials(self._repository_url),
            links=tuple(self._links(version)),
        )

    @property
    def _repository_url(self) -> str:
        return self.clients.config.git.push_url or self.environment.application.repo_url

    def _commit_link(self, name: str, sha: str) -> tuple[Link, ...]:
        if not sha or not self._repository_url:
            return ()
        try:
            return _link(name, f"{self.clients.forge_address(self._repository_url).web_url}/commit/{sha}")
        except PromoterError:
            return ()  # a Git server without pages, as far as is known

    def _links(self, version: str) -> Iterable[Link]:
        clients = self.clients
        argocd = clients.config.argocd_web_url or _argocd(clients)
        if argocd:
            yield Link("Argo CD", links.application(argocd, self.environment.application))
        mlflow = clients.config.mlflow_web_url or clients.environ.get("MLFLOW_TRACKING_URI") or clients.config.tracking_uri
        if mlflow and version:
            yield from _link("MLflow", links.model_version(mlflow, self.environment.model.name, version))
        yield from _link("run", links.run(clients.environ))


def example(clients: Clients) -> Notice:
    """A notice that is marked as a test; each has a new id."""
    made = secrets.token_hex(8)
    sentence = "this is a test of promoter's notices: nothing was promoted"
    config = clients.config
    repositories = [config.git.push_url, *(environment.application.repo_url for environment in config.environments)]
    repository = without_credentials(next(filter(None, repositories), ""))
    page = _link("run", links.run(clients.environ))
    return Notice(made, NoticeKind.LIVE, "test", "promoter", "", sentence, repository=repository, links=page)


def _argocd(clients: Clients) -> str:
    try:
        return base_url(clients.environ, clients.config.argocd_server)
    except PromoterError:
        return ""  # none is configured, or its settings can't be read, which its client reports


def _sentence(ending: Ending) -> str:
    parts = [_of_verdict(ending.verdict)]
    if ending.restored:
        to = f" to version {ending.stable.version}" if ending.stable else ""
        parts.append(f"Git is restored{to} by {ending.restored[:10]}")
    return "; ".join([*parts, *([ending.note] if ending.note else [])])


def _of_verdict(verdict: Verdict) -> str:
    reason = f" ({verdict.reason})" if verdict.reason else ""
    return f"{verdict.kind}{reason}: {verdict.summary}"


def _version_before(repository: Repository, environment: Environment, committed: Committed) -> str:
    """The version that the overlay deployed before this release, "" if Git does not show it."""
    try:
        earlier = itertools.islice(releases.history(repository, environment, committed.commit.sha), _LOOKED_BACK)
        return next((one.release.version for one in earlier if one.release != committed.release), "")
    except PromoterError:
        return ""


def _on_one_line(metrics: Iterable[str]) -> str:
    return ", ".join(metrics).replace(" -> ", " → ")


def _link(name: str, url: str) -> tuple[Link, ...]:
    return (Link(name, url),) if url else ()
