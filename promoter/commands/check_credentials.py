"""The part of `check` that lists credentials: what this process has, and where each may be sent. Nothing is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promoter.errors import PromoterError
from promoter.models import Environment, ForgeKind
from promoter.transport.credential import Credential, origin

if TYPE_CHECKING:
    from promoter.promotion.clients import Clients


@dataclass(frozen=True, slots=True)
class Held:
    """A credential by the name of its variable or place; `origins` is empty for one that is sent nowhere, or nowhere yet."""

    name: str
    origins: tuple[str, ...]

    @classmethod
    def of(cls, credential: Credential) -> Held:
        return cls(credential.name, tuple(sorted(credential.origins)))


def credentials(
    clients: Clients, environments: Sequence[Environment], refused: Callable[[PromoterError], None], *, offline: bool
) -> tuple[Held, ...]:
    """Every credential that these environments could use, in the order of the services; `offline` leaves out logins to
    registries, for which programs and clouds are asked. A credential that can't be used is handed to `refused`.
    """
    kinds: list[Callable[[], Iterable[Held]]] = [
        lambda: _mlflow(clients),
        lambda: _argocd(clients),
        lambda: _git(clients, environments),
        lambda: [] if offline else _registries(clients, environments),
        lambda: _notices(clients),
    ]
    found: list[Held] = []
    for kind in kinds:
        try:
            found += kind()
        except PromoterError as error:
            refused(error)
    return tuple(dict.fromkeys(found))


def _mlflow(clients: Clients) -> Iterator[Held]:
    from promoter.model_registry import settings

    environ, configured = clients.environ, clients.config.tracking_uri
    if not (environ.get("MLFLOW_TRACKING_URI") or environ.get("MLFLOW_REGISTRY_URI") or configured):
        return
    read = settings.read(environ, tracking_uri=configured)
    for uri in (read.tracking_uri, read.registry_uri or read.tracking_uri):
        if (credential := read.login(uri)[1]) is not None:
            yield Held.of(credential)


def _argocd(clients: Clients) -> Iterator[Held]:
    from promoter.argocd.client import credential

    if clients.environ.get("ARGOCD_AUTH_TOKEN") and clients.argocd_server:
        yield Held.of(credential(clients.environ, clients.config.argocd_server))


def _git(clients: Clients, environments: Sequence[Environment]) -> Iterator[Held]:
    from promoter.gitops.credentials import in_url
    from promoter.hosting import tokens

    environ = clients.environ
    urls = dict.fromkeys(clients.config.git.push_url or one.application.repo_url for one in environments)
    for url in filter(None, urls):
        if password := in_url(url, environ):
            yield Held.of(password)
    if token := tokens.git_token("", environ):
        yield Held.of(token)
    for kind in ForgeKind:
        if kind is ForgeKind.GITHUB and environ.get("GITHUB_APP_ID"):  # its token is minted when it is needed
            yield Held("the GitHub App's token", tuple(sorted(tokens.own_origins(kind, environ))))
        elif own := tokens.own_token(kind, environ):
            yield Held.of(own)
    if environ.get(tokens.Purpose.DISPATCH):
        yield Held(tokens.Purpose.DISPATCH, ())


def _registries(clients: Clients, environments: Sequence[Environment]) -> Iterator[Held]:
    from promoter.image.credentials import registry_login
    from promoter.image.reference import ImageReference

    image = clients.config.image
    if image.layout:
        return
    runtimes = [image.runtime_repository] if image.runtime_repository else []
    for registry in dict.fromkeys(
        ImageReference.parse(name).registry for name in (*(one.model.repository for one in environments), *runtimes)
    ):
        if login := registry_login(registry, clients.environ):
            yield Held.of(login)


def _notices(clients: Clients) -> Iterator[Held]:
    """A webhook's URL is the credential itself; a secret signs and is sent nowhere."""
    from promoter.notify.notifier import slack_origins

    for notice in clients.config.notices:
        for key, variable in notice.variables.items():
            if value := clients.environ.get(variable, "").strip():
                places = {"url_from": {origin(value)} - {""}, "token_from": slack_origins(clients.environ)}
                yield Held(variable, tuple(sorted(places.get(key, ()))))
