"""check: whether promoter.yaml, overlays and services are such that a promotion can succeed. It changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from promoter.argocd.errors import NotFoundError
from promoter.commands import check_servers
from promoter.commands.check_credentials import Held, credentials
from promoter.commands.check_files import Manifests, WorkTree, contradicting, placeholders, rendering, same_overlay
from promoter.errors import ExitCode, PromoterError, UsageError
from promoter.kustomize import freeze_file, overlay, promotion_file
from promoter.kustomize.entries import opened
from promoter.kustomize.render import sources, tool
from promoter.model_registry import ModelReference
from promoter.models import Environment, OnFailure, Release, Write
from promoter.promotion import gates

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients

_RIGHTS = (
    ("get", "applications", "nothing can be watched"),
    ("sync", "applications", "promoter can't ask for a sync that auto-sync skipped, nor end a failing operation"),
    ("get", "logs", "the logs of failing pods are not shown"),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. `exit_code` is 0 for what a promotion survives."""

    where: str
    problem: str
    fix: str
    exit_code: ExitCode = ExitCode.USAGE

    @classmethod
    def of(cls, where: str, error: PromoterError) -> Finding:
        return cls(where, error.message, error.hint, ExitCode(error.exit_code))


@dataclass(frozen=True, slots=True)
class Checked:
    """What was looked at, in order, the credentials that this process has, and what was found."""

    passed: tuple[str, ...]
    credentials: tuple[Held, ...]
    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> ExitCode:
        """That of the first finding that a promotion does not survive."""
        return next((one.exit_code for one in self.findings if one.exit_code), ExitCode.DONE)


Look = Callable[[], Iterable[Finding]]


def check(clients: Clients, environments: Sequence[Environment], *, offline: bool, say: Callable[[str], None]) -> Checked:
    """Every look at these environments; `offline` leaves out those that need the network. No look ends the others."""
    tree = WorkTree.around(clients.config.root)
    looks = [*_file_looks(tree, clients, environments, offline)]
    if not offline:
        looks += _server_looks(clients)
        for environment in environments:
            looks += _service_looks(clients, environment)
    passed: list[str] = []
    found: list[Finding] = []
    say("credentials")
    held = credentials(clients, environments, lambda error: found.append(Finding.of("credentials", error)), offline=offline)
    for what, look in looks:
        say(what)
        try:
            these = list(look())
        except PromoterError as error:
            these = [Finding.of(what, error)]
        found += these
        if not these:
            passed.append(what)
    return Checked(tuple(passed), held, tuple(dict.fromkeys(found)))


# -- what needs no network --------------------------------------------------------------------------------------------


def _file_looks(
    tree: WorkTree, clients: Clients, environments: Sequence[Environment], offline: bool
) -> Iterator[tuple[str, Look]]:
    yield "placeholders of the example", lambda: [Finding(*one) for one in placeholders(tree, environments)]
    yield "one overlay for each environment", lambda: [Finding(*one) for one in same_overlay(clients.config.environments)]
    yield "kustomize", _tool
    known = [one.application for one in clients.config.environments if one.application.repo_url]
    if known and not any(tree.holds(application.path) for application in known):
        yield "overlays", partial(_elsewhere, environments)
        return
    manifests = Manifests(clients.config.root)
    for environment in environments:
        if environment.application.repo_url:
            yield f"overlay of {_name(environment)}", partial(_overlay, clients, tree, environment, offline)
            yield f"components of {_name(environment)}", partial(_components, tree, environment)
            yield f"manifest of {_name(environment)}", partial(_manifest, tree, manifests, environment)


def _tool() -> Iterator[Finding]:
    if tool() is None:
        fix = "install kustomize: https://kubectl.docs.kubernetes.io/installation/kustomize/"
        yield Finding("kustomize", "neither kustomize nor kubectl is on the PATH: overlays are not built", fix, ExitCode.DONE)


def _elsewhere(environments: Sequence[Environment]) -> Iterator[Finding]:
    """promoter.yaml may be in one repository and every overlay in another."""
    for environment in environments:
        application = environment.application
        if application.repo_url:
            problem = f"is not in this checkout but in {application.repo_url}: the overlay was not looked at"
            yield Finding(application.path, problem, "run promoter check in a checkout of that repository too", ExitCode.DONE)


def _overlay(clients: Clients, tree: WorkTree, environment: Environment, offline: bool) -> Iterator[Finding]:
    """Raises: PromoterError, as the overlay's files and its render are refused."""
    gates.no_parameter_files(tree, environment)
    unknown = rendering(clients, tree, environment, offline=offline)
    files = overlay.read_overlay(tree, environment)
    if files.promotion is not None:
        decided = opened(files.promotion_file, files.promotion)
        promotion_file.of(decided, environment)
        if (problem := next((one.problem for one in freeze_file.of(decided, environment) if one.problem), None)) is not None:
            raise problem
    for reason in unknown:
        fix = "look at it in Argo CD after the first promotion, or put what is missing into the repository"
        yield Finding(environment.application.path, reason, fix, ExitCode.DONE)


def _components(tree: WorkTree, environment: Environment) -> Iterator[Finding]:
    yield from (Finding(*one) for one in contradicting(tree, environment))


def _manifest(tree: WorkTree, manifests: Manifests, environment: Environment) -> Iterator[Finding]:
    """Raises: RefusedError, for what in the Application's manifest keeps a commit from taking effect."""
    application = manifests.of(environment)
    if application is not None:
        gates.followed(application, environment)
        gates.rendered_by_argocd(application, environment, sources(tree, environment.application.path))
    yield from ()


# -- servers -----------------------------------------------------------------------------------------------------------


def _server_looks(clients: Clients) -> Iterator[tuple[str, Look]]:
    if clients.argocd_server:
        yield "Argo CD", lambda: [Finding(*one, ExitCode.DONE) for one in check_servers.argocd(clients.argocd())]
    yield "webhooks of MLflow", partial(_webhooks, clients)


def _webhooks(clients: Clients) -> Iterator[Finding]:
    from promoter.model_registry import Webhooks

    try:
        known = Webhooks.from_environ(clients.environ, tracking_uri=clients.config.tracking_uri)
        yield from (Finding(*one, ExitCode.DONE) for one in check_servers.webhooks(known))
    except UsageError:
        return  # no REST API: a schedule needs no webhook


# -- services ---------------------------------------------------------------------------------------------------------


def _service_looks(clients: Clients, environment: Environment) -> Iterator[tuple[str, Look]]:
    name = _name(environment)
    yield f"Argo CD and {name}", partial(_argocd, clients, environment)
    yield f"Git and {name}", partial(_git, clients, environment)
    yield f"MLflow and {name}", partial(_mlflow, clients, environment)
    yield f"container registry of {name}", partial(_registry, clients, environment)
    if environment.write is Write.PULL_REQUEST or environment.on_failure is OnFailure.PULL_REQUEST:
        yield f"pull requests of {name}", partial(_forge, clients, environment)


def _argocd(clients: Clients, environment: Environment) -> Iterator[Finding]:
    where = f"Application {environment.application.name}"
    if not clients.argocd_server:
        yield Finding("Argo CD", "it is not configured", "set ARGOCD_SERVER and ARGOCD_AUTH_TOKEN, or argocd.server")
        return
    argocd = clients.argocd()
    try:
        application = argocd.application(environment.application)
    except NotFoundError:
        application = None
    if application is None and environment.application.repo_url and _released(clients, environment) is None:
        yield Finding(where, gates.not_created(environment), gates.CREATE_IT, ExitCode.DONE)
        return
    gates.followed(application, clients.with_source(environment))
    assert application is not None  # noqa: S101 - `followed` has refused it
    for action, resource, lost in _RIGHTS:
        if not argocd.can_i(action, environment.application, resource=resource):
            project = environment.application.project
            policy = f"p, proj:{project}:promoter, {resource}, {action}, {project}/*, allow"
            fix = f"add to the role of the token in AppProject {project}: {policy}"
            yield Finding(where, f"the token may not {action} {resource}: {lost}", fix, ExitCode.DONE)
    released = bool(application.workloads) or _released(clients, clients.with_source(environment)) is not None
    for warning in gates.warnings(application, argocd.sync_windows(environment.application), released=released):
        yield Finding(where, warning, f"argocd app get {environment.application.name}", ExitCode.DONE)
    if application.generate_paths:
        snapshot = clients.repository(clients.with_source(environment).application).fetch()
        gates.rendered_by_argocd(application, environment, sources(snapshot, environment.application.path))


def _released(clients: Clients, environment: Environment) -> Release | None:
    return overlay.deployed(clients.repository(environment.application).fetch(), environment)


def _git(clients: Clients, environment: Environment) -> Iterator[Finding]:
    placed = clients.with_source(environment)
    repository = clients.repository(placed.application)
    overlay.read_overlay(repository.fetch(), placed)
    if placed.write is Write.PUSH:
        repository.require_push()
    yield from ()


def _mlflow(clients: Clients, environment: Environment) -> Iterator[Finding]:
    model, alias = environment.model.name, environment.alias
    if alias is None:
        return
    version = clients.model_registry.version_of(model, alias)
    if version is None:
        fix = f"set it in MLflow when a version is ready, or correct `alias:` of {environment.name!r} in promoter.yaml"
        yield Finding(f"MLflow, {model}", f"no version has the alias {alias}", fix, ExitCode.DONE)
    else:
        clients.model_registry.resolve(ModelReference(model, version=version))


def _registry(clients: Clients, environment: Environment) -> Iterator[Finding]:
    clients.require_push(environment.model)
    yield from ()


def _forge(clients: Clients, environment: Environment) -> Iterator[Finding]:
    placed = clients.with_source(environment)
    clients.forge(placed.application).pull_requests("promoter/check", placed.application.target_revision)
    yield from ()


def _name(environment: Environment) -> str:
    return f"{environment.model.name} in {environment.name}"
