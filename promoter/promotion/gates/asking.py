"""Every gate of an environment asked about one version: all of them, not only up to the first refusal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from promoter.argocd.errors import NotFoundError
from promoter.errors import GatesError, PromoterError, RefusedError
from promoter.kustomize.render import sources
from promoter.models import Application, Environment, Result, Ruling
from promoter.promotion.freezes import FrozenError, not_frozen, sync_windows
from promoter.promotion.gates import application, decided
from promoter.promotion.gates.golden import golden
from promoter.promotion.gates.metrics import metrics
from promoter.promotion.gates.order import Standing, after, earlier
from promoter.promotion.gates.pickles import pickle
from promoter.promotion.gates.places import decided_before, standing
from promoter.promotion.gates.requirements import requirements
from promoter.promotion.gates.signature import signature
from promoter.promotion.gates.table import of_error, passed, warned
from promoter.promotion.gates.tags import tags
from promoter.promotion.gates.version import age, aliases, flavors, size

if TYPE_CHECKING:
    from promoter.argocd.client import ArgoCD
    from promoter.argocd.state import ApplicationState, SyncWindows
    from promoter.config.gates import AfterSection, GatesSection
    from promoter.promotion.gates.facts import Facts

Rule = Callable[["GatesSection", "Facts"], Iterable[Ruling]]

RULES: Mapping[str, Rule] = {
    "tags": lambda gates, facts: tags(gates.tags or {}, facts.labelled),
    "aliases": lambda gates, facts: aliases(gates.aliases or (), facts.labelled),
    "age": lambda gates, facts: age(gates.age, facts.version, facts.now) if gates.age else (),
    "size": lambda gates, facts: size(gates.size, facts.version) if gates.size else (),
    "flavors": lambda gates, facts: flavors(gates.flavors or (), facts.version),
    "pickle": lambda gates, facts: (pickle(gates.pickle, facts.version),) if gates.pickle else (),
    "requirements": lambda gates, facts: requirements(gates.requirements.refuse, facts.version) if gates.requirements else (),
    "metrics": lambda gates, facts: metrics(gates.metrics or {}, facts.version, facts.live),
    "signature": lambda _, facts: signature(facts.version, facts.live),
    "golden": lambda gates, facts: (golden(gates.golden, facts.version),) if gates.golden else (),
    "earlier": lambda gates, facts: _earlier(gates.after, facts),
    "after": lambda gates, facts: (_after(gates.after, facts),) if gates.after else (),
    "signed": lambda gates, facts: (facts.signed(gates.signed),) if gates.signed else (),
    "attested": lambda gates, facts: (facts.attested(gates.attested),) if gates.attested else (),
    "command": lambda gates, facts: (facts.checked(gates.command),) if gates.command else (),
}
"""The gates that are declared in promoter.yaml: a key under `gates:`, and the rule that is asked where it is set."""


def ask(facts: Facts) -> tuple[Ruling, ...]:
    """What every gate decides: those that always stand, and those that are declared for the environment.

    Raises:
        AuthError, UnreachableError: a fact that a gate needs can't be read.
    """
    return (*ask_again(facts), *_application(facts))


def ask_again(facts: Facts) -> tuple[Ruling, ...]:
    """Those that depend on what others may have changed in Git or MLflow since the plan. Raises as `ask`.

    A release that is deployed already changes nothing: what is declared is not asked, so it can be watched again.
    """
    gates = facts.clients.config.gates[facts.known.environment.key]
    declared = [rule for name, rule in RULES.items() if facts.changes and getattr(gates, name)]
    if facts.overrides.gates:
        facts.overrides.require_allowed(gates, facts.environment)
    rulings = tuple(ruling for rule in declared for ruling in rule(gates, facts))
    if facts.overrides.gates:
        rulings = facts.overrides.applied(rulings)
    return (_decided(facts), *_frozen(facts), *rulings)


def passed_before(environments: Sequence[Environment], environment: Environment, after: str = "") -> list[Environment]:
    """Those of the same model that are listed before `environment` in promoter.yaml, and the one that it comes `after`."""
    same = [one for one in environments if one.model.name == environment.model.name]
    place = [one.name for one in same].index(environment.name)
    return [one for number, one in enumerate(same) if number < place or one.name == after]


def _earlier(rule: AfterSection | None, facts: Facts) -> Iterable[Ruling]:
    wanted = rule.environment if rule else ""
    before = passed_before(facts.clients.config.environments.of(facts.version.name), facts.known.environment, wanted)
    if not before:
        return ()
    found = decided_before(facts.clients, before, facts.environment, facts.snapshot, facts.version)
    return earlier(found, force=facts.force)


def _after(rule: AfterSection, facts: Facts) -> Ruling:
    """Without an image there is nothing that could be live anywhere: neither Git nor Argo CD is asked."""
    if not facts.digest:
        return after(rule, "", Standing(None), facts.now)
    other = facts.clients.environment(rule.environment, facts.environment.model.name)
    return after(rule, facts.digest, standing(facts.clients, other, facts.digest), facts.now)


def _decided(facts: Facts) -> Ruling:
    try:
        decided.not_undone(facts.known, facts.version, force=facts.force, unattended=facts.unattended)
    except RefusedError as error:
        return of_error("quarantine", error)
    return passed("quarantine", "", f"not quarantined in {facts.known.environment.name}")


def _frozen(facts: Facts) -> tuple[Ruling, ...]:
    """A release that is deployed already is left as it is, so it can be watched in a frozen environment."""
    if not facts.changes:
        return ()
    try:
        not_frozen(facts.known, facts.at)
    except RefusedError as error:
        return (of_error("freeze", error),)
    return (Ruling("freeze", "", Result.PASSED, f"{facts.known.environment.name} is not frozen"),)


def _application(facts: Facts) -> tuple[Ruling, ...]:
    try:
        return tuple(_taken(facts))
    except RefusedError as error:
        return (of_error("application", error),)


def _taken(facts: Facts) -> Iterator[Ruling]:
    """Whether Argo CD will take the commit. Without an Argo CD its part is left out.

    Where the overlay deploys no release yet its Application may be created afterwards.
    """
    environment = facts.known.environment
    application.not_overridden(environment)
    application.no_parameter_files(facts.snapshot, environment)
    if not facts.clients.argocd_server:
        return
    argocd = facts.clients.argocd()
    try:
        found = argocd.application(environment.application)
    except NotFoundError:
        found = None
    if found is None and facts.before is None:
        yield warned("application", "", f"{application.not_created(environment)}: {application.CREATE_IT}")
        return
    application.followed(found, environment)
    if found is None:
        return
    if found.generate_paths:
        application.rendered_by_argocd(found, environment, sources(facts.snapshot, environment.application.path))
    yield passed("application", "", "Argo CD follows this branch and path, and overrides no image")
    for warning in application.warnings(found, None, released=facts.before is not None):
        yield warned("application", "", warning)
    if facts.changes:
        yield _window(argocd, environment.application, found)


def sync_window(facts: Facts) -> tuple[Ruling, ...]:
    """Whether Argo CD syncs by itself now, asked once more: a window may have begun while an image was built.

    Without an Argo CD, or before the Application is created, nobody knows of one.
    """
    if not facts.clients.argocd_server:
        return ()
    argocd, wanted = facts.clients.argocd(), facts.environment.application
    try:
        found = argocd.application(wanted)
    except NotFoundError:
        return ()
    return (_window(argocd, wanted, found),)


def _window(argocd: ArgoCD, wanted: Application, found: ApplicationState) -> Ruling:
    return _synced(wanted, partial(argocd.sync_windows, wanted), auto_sync=found.auto_sync)


def _synced(wanted: Application, read: Callable[[], SyncWindows], *, auto_sync: bool) -> Ruling:
    try:
        unsure = sync_windows(wanted, read, auto_sync=auto_sync)
    except FrozenError as error:
        return of_error("sync-window", error)
    return warned("sync-window", "", unsure) if unsure else passed("sync-window", "", "Argo CD may sync now")


def waits(error: PromoterError) -> bool:
    """Nothing is wrong with the version: it waits for the end of a freeze, or until it is live in an earlier environment."""
    rulings = error.rulings if isinstance(error, GatesError) else ()
    refusing = {one.gate for one in rulings if isinstance(one, Ruling) and one.result is Result.REFUSED}
    return isinstance(error, FrozenError) or bool(refusing and refusing <= {"freeze", "sync-window", "after", "attested"})
