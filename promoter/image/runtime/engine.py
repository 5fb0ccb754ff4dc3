"""The Docker engine, by its API (https://docs.docker.com/reference/api/engine/): pull, build, push."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import requests
import urllib3
from docker.auth import encode_header
from docker.errors import APIError, DockerException, ImageNotFound
from docker.utils import kwargs_from_env

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.image.base import Platform
from promoter.image.credentials import engine_auth, engine_logins
from promoter.image.reference import ImageReference
from promoter.image.runtime.packages import base_hint

_ANSWER_SECONDS = 600  # an engine that packs a large layer sends nothing for minutes
_LAST_LINES = 20
_STEP = re.compile(r"Step \d+/\d+ : .*")
# The messages for people that install.py, or a user's own step, prints.
SENTENCE = "promoter: "
_USUAL = "unix:///var/run/docker.sock"
_DENIED = ("denied", "unauthorized", "authentication required", "no basic auth", "forbidden")
_MISSING = ("not found", "manifest unknown", "name unknown", "does not exist")
_UNREACHED = ("timeout", "connection refused", "no such host", "dial tcp", "connection reset", "eof")


@dataclass(frozen=True, slots=True)
class Build:
    """One build: `dockerfile` lies in the folder `context`; `network` is Docker's word for what its steps reach."""

    context: Path
    dockerfile: Path
    platform: Platform
    stage: str | None = None
    arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    cache_from: str | None = None
    network: str | None = "none"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a container left: its exit code (None: it did not end in time), its last lines, whether memory ran out."""

    exit_code: int | None
    lines: tuple[str, ...]
    out_of_memory: bool


class _Client(docker.APIClient):
    """The SDK's client. It would start Docker's credential helpers itself, with the whole environment and without a limit."""

    environ: Mapping[str, str]

    def _set_auth_headers(self, headers: dict[str, Any]) -> None:
        """Of a build, which may pull from any registry."""
        if logins := engine_logins(self.environ):
            headers["X-Registry-Config"] = encode_header(logins)


class Engine(AbstractContextManager["Engine"]):
    """The engine that DOCKER_HOST names, or this machine's own; `say` reports each step."""

    def __init__(self, env: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Raises:
        UnreachableError: no engine answers.
        """
        self._env, self._say = env, say
        host = env.get("DOCKER_HOST") or _USUAL
        if host.startswith("unix://") and not Path(host.removeprefix("unix://")).exists():
            raise _no_engine(host, "no such socket")
        try:
            settings = kwargs_from_env({**env, "DOCKER_HOST": host})
            client = _Client(**settings, version="auto", timeout=_ANSWER_SECONDS)
        except (DockerException, requests.exceptions.RequestException) as error:
            raise _no_engine(host, str(error)) from None
        client.environ = env
        self._client: docker.APIClient = client

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def has(self, image: str) -> bool:
        """Whether the engine has this image, by name or id, already."""
        try:
            with _asked(f"look for {image}"):
                self._client.inspect_image(image)
        except _Missing:
            return False
        return True

    def pull(self, image: ImageReference) -> None:
        """Raises:
        RefusedError: it is not there.
        AuthError, UnreachableError: as its registry answers.
        """
        doing = f"pull {image}"
        self._say(f"pulling {image}")
        with _asked(doing):
            auth = engine_auth(image.registry, self._env) or {}
            tag = image.digest or image.tag
            answers = self._client.pull(image.name, tag=tag, stream=True, decode=True, auth_config=auth)
            self._follow(answers, lambda error: _failure(doing, error, image.name))

    def build(self, build: Build) -> str:
        """The image's id in this engine.

        Raises:
            RefusedError: a step failed, or the image is for another platform.
            UnreachableError: the engine does not answer, or its disk is full.
        """
        lines: deque[str] = deque(maxlen=_LAST_LINES)
        with _asked("build the image"):
            answers = self._client.build(
                path=str(build.context),
                dockerfile=str(build.dockerfile),
                target=build.stage,
                buildargs=dict(build.arguments),
                labels=dict(build.labels),
                cache_from=[build.cache_from] if build.cache_from else None,
                network_mode=build.network,
                use_config_proxy=build.network != "none",
                platform=str(build.platform),
                rm=True,
                forcerm=True,
                decode=True,
            )
            aux = self._follow(answers, lambda error: _build_failure(error, lines), lines)
            image = str(aux.get("ID", ""))
            made = self._client.inspect_image(image)
        found = Platform(made["Os"], made["Architecture"], made.get("Variant") or None)
        if not build.platform.runs(found):
            raise RefusedError(
                f"the engine built an image for {found}, not for {build.platform}",
                hint="name a base image, or an engine with DOCKER_HOST, for that platform",
            )
        return image

    def command(self, image: str) -> list[str]:
        """What a container of this image runs."""
        with _asked(f"look at {image}"):
            config = self._client.inspect_image(image)["Config"]
        return [*(config.get("Entrypoint") or ()), *(config.get("Cmd") or ())]

    def run(
        self,
        image: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        files: Mapping[str, Iterator[bytes]],
        seconds: int,
        memory: int | None = None,
    ) -> Ran:
        """Runs the command as the image's own user, with nothing to write but /tmp, no network and no capability.

        `files` are tar archives that are unpacked in these folders first; `memory` is a limit in bytes.

        Raises:
            UnreachableError: the engine does not answer, or its disk is full.
        """
        settings = self._client.create_host_config(
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": ""},  # noqa: S108 - of the container
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            mem_limit=memory,
            memswap_limit=memory,
        )
        with _asked(f"start {image}"):
            container = self._client.create_container(
                image,
                command=list(command[1:]),
                entrypoint=list(command[:1]),
                environment=dict(environ),
                volumes=list(files),
                host_config=settings,
            )["Id"]
            try:
                for folder, archive in files.items():
                    self._client.put_archive(container, folder, archive)
                self._client.start(container)
                try:
                    code = self._client.wait(container, timeout=seconds)["StatusCode"]
                except requests.exceptions.RequestException:  # its time is up, or the next question fails too
                    code = None
                lines = self._client.logs(container, tail=_LAST_LINES).decode(errors="replace").splitlines()
                state = self._client.inspect_container(container)["State"]
            finally:
                self._client.remove_container(container, force=True, v=True)
        return Ran(code, tuple(map(_plain, lines)), bool(state.get("OOMKilled")))

    def remove(self, image: str) -> None:
        """Takes the image off the engine; layers that others share stay.

        Raises:
            RefusedError, UnreachableError: the engine has no such image, uses it, or does not answer.
        """
        with _asked(f"remove {image}"):
            self._client.remove_image(image)

    def push(self, image: str, target: ImageReference) -> str | None:
        """Pushes the image with this id under the target's name and tag; returns the manifest's digest if reported.

        Raises:
            AuthError, UnreachableError, RefusedError: as the registry answers.
        """
        doing = f"push {target}"
        self._say(f"pushing {target}")
        with _asked(doing):
            self._client.tag(image, target.name, target.tag)
            auth = engine_auth(target.registry, self._env) or {}
            answers = self._client.push(target.name, tag=target.tag, stream=True, decode=True, auth_config=auth)
            aux = self._follow(answers, lambda error: _failure(doing, error, target.name))
        return aux.get("Digest")

    def _follow(
        self,
        answers: Iterable[Mapping[str, Any]],
        failure: Callable[[str], PromoterError],
        lines: deque[str] | None = None,
    ) -> Mapping[str, Any]:
        """Reads an answer to its end, even after an error in it; returns what the engine reports about the outcome."""
        aux: dict[str, Any] = {}
        error = None
        for answer in answers:
            error = answer.get("error", error)
            aux |= answer.get("aux") or {}
            for line in str(answer.get("stream", "")).splitlines():
                if lines is not None:
                    lines.append(_plain(line))
                if _STEP.fullmatch(line):
                    self._say(line)
        if error is not None:
            raise failure(str(error))
        return aux


class _Missing(RefusedError):
    """The engine has no such image."""


def _no_engine(host: str, why: str) -> UnreachableError:
    return UnreachableError(
        f"no Docker engine answers at {host}, and an image has to be built: {why}",
        hint="start Docker here, name an engine with DOCKER_HOST, or set image.runtime to an image that is ready",
    )


@contextmanager
def _asked(doing: str) -> Iterator[None]:
    try:
        yield
    except ImageNotFound as error:
        raise _Missing(f"can't {doing}: {error.explanation}", hint="check its name") from None
    except APIError as error:
        raise _failure(doing, str(error.explanation or error), "it") from None
    except (DockerException, requests.exceptions.RequestException, urllib3.exceptions.HTTPError) as error:
        raise UnreachableError(
            f"can't {doing}: the Docker engine stopped answering: {type(error).__name__}", hint="see its log, and run again"
        ) from None


def _failure(doing: str, reason: str, name: str) -> PromoterError:
    """The engine's message as the error whose hint fits it."""
    message, lower = f"can't {doing}: {' '.join(reason.split())}", reason.lower()
    if "no space left" in lower:
        return UnreachableError(message, hint="free the engine's disk: `docker system prune`")
    if "http response to https client" in lower:
        return UsageError(message, hint="name that registry in `insecure-registries` of the engine's daemon.json")
    if any(word in lower for word in _DENIED):
        return AuthError(message, hint=f"check the login for {name}, and that it may pull and push there")
    if any(word in lower for word in _MISSING):
        return RefusedError(message, hint=f"check that {name} exists")
    if any(word in lower for word in _UNREACHED):
        return UnreachableError(message, hint="check that the Docker engine can reach that registry")
    return RefusedError(message, hint="see the Docker engine's log")


def _build_failure(reason: str, output: Iterable[str]) -> PromoterError:
    lines = [line for line in output if line.strip()]
    for line in lines:
        if line.startswith(SENTENCE):
            return RefusedError(line.removeprefix(SENTENCE), hint=base_hint(line))
    if any("no space left" in line.lower() for line in (*lines, reason)):
        return UnreachableError(f"can't build the image: {reason}", hint="free the engine's disk: `docker system prune`")
    last = "\n".join(f"  {line}" for line in lines)
    return RefusedError(
        f"can't build the image: {' '.join(reason.split())}\n{last}", hint="the lines above are the build's last"
    )


def _plain(line: str) -> str:
    """Without the colours that the engine gives to what a step writes to stderr."""
    return re.sub(r"\x1b\[[0-9;]*m", "", line)
