"""All that the sandbox has instead of a cluster: its Applications, moved on by a clock, and the one lock around them."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promoter.demo.sandbox.application import Application, ApplicationController
from promoter.demo.sandbox.repository import Repository
from promoter.demo.sandbox.resources import find, resource_tree

if TYPE_CHECKING:
    from promoter.demo.sandbox.pods import Runtime


class World:
    """The Applications by name. `tick` moves everything to the present of `clock`, seconds since 1970 at any pace.

    The remotes are looked at every `reconcile_every` seconds of that clock, and whenever a refresh is asked for.
    """

    def __init__(
        self,
        applications: Sequence[Application],
        *,
        folder: Path,
        runtime: Runtime,
        clock: Callable[[], float],
        reconcile_every: float = 120.0,
    ) -> None:
        self._clock, self._runtime, self._reconcile_every = clock, runtime, reconcile_every
        self._reconcile_at = clock()
        self.changed = threading.Condition()
        self.endpoints: Mapping[str, tuple[str, ...]] = {}
        repositories = {item.repo_url: Repository(item.repo_url, folder / _folder_name(item.repo_url)) for item in applications}
        self._controllers = {
            item.name: ApplicationController(item, repositories[item.repo_url], runtime, clock()) for item in applications
        }

    def tick(self) -> None:
        """Looks at the remotes when it is time, and moves every operation, Rollout and pod on."""
        with self.changed:
            now = self._clock()
            if now >= self._reconcile_at:
                self._reconcile_at = now + self._reconcile_every
                for controller in self._controllers.values():
                    controller.refresh(now)
            for controller in self._controllers.values():
                controller.advance(now)
            self.endpoints = {name: _endpoints(controller) for name, controller in self._controllers.items()}
            self.changed.notify_all()

    def application(self, name: str) -> Application | None:
        controller = self._controllers.get(name)
        return controller.spec if controller else None

    def snapshots(self) -> list[Mapping[str, Any]]:
        """The JSON of every Application, in order of name; to be read, not to be changed."""
        return [self._controllers[name].snapshot for name in sorted(self._controllers)]

    def snapshot(self, name: str) -> Mapping[str, Any]:
        return self._controllers[name].snapshot

    def refresh(self, name: str) -> None:
        with self.changed:
            self._controllers[name].refresh(self._clock())
            self.changed.notify_all()

    def sync(self, name: str, username: str, revision: str) -> None:
        """Raises: OperationRefusedError."""
        with self.changed:
            self._controllers[name].sync(username, revision, self._clock())
            self.changed.notify_all()

    def terminate(self, name: str) -> None:
        """Raises: OperationRefusedError."""
        with self.changed:
            self._controllers[name].terminate(self._clock())
            self.changed.notify_all()

    def act(self, name: str, action: str) -> bool:
        """Runs abort, retry or resume on the Rollout; False for an action there is none of."""
        with self.changed:
            actions = self._controllers[name].rollout
            known = {"abort": actions.abort, "retry": actions.retry, "resume": actions.resume}
            if action in known:
                known[action](self._clock())
            return action in known

    def resource(self, name: str, kind: str, resource_name: str) -> Mapping[str, Any] | None:
        with self.changed:
            return find(self._controllers[name].rollout, kind, resource_name)

    def resource_tree(self, name: str) -> Mapping[str, Any]:
        with self.changed:
            return resource_tree(self._controllers[name].rollout)

    def logs(self, pod_name: str) -> list[str]:
        return self._runtime.logs(pod_name)


def _endpoints(controller: ApplicationController) -> tuple[str, ...]:
    """Where the ready pods listen, stable and canary alike: what an unpinned Service sends requests to."""
    sets = controller.rollout.replica_sets
    return tuple(pod.status.address for replica_set in sets for pod in replica_set.ready if pod.status.address)


def _folder_name(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:16]
