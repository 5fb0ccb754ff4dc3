"""What an overlay renders to, by the kustomize (or kubectl) of this machine: never a network, never the work tree."""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import signal
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

from promoter.config.values import RenderConfig
from promoter.config.yaml import plain_values
from promoter.errors import ConfigError, LinkError, RefusedError, UnreachableError
from promoter.kustomize.outside import KUSTOMIZATION_FILES, charts, require_inside
from promoter.machine import process, resources
from promoter.machine.folders import temporary
from promoter.machine.paths import leads_below, link_below, write_below

_TIMEOUT = 60.0
_MOST_LINKS = 40  # one after the other, as Linux has it (path_resolution(7))
DEFAULTS = RenderConfig()


class Link(bytes):
    """In the place of a file's content: a symbolic link, and where it leads, as Git has it."""


class NotBuiltHereError(RefusedError):
    """Argo CD may build the overlay, and this machine can't: nothing is known of what it renders to."""


class Tree(Protocol):
    """The files of one commit."""

    def read(self, path: str) -> bytes | None: ...

    def export(self, paths: Iterable[str]) -> Mapping[str, bytes]:
        """Every regular file at or below these paths, by its path in the repository."""
        ...


def tool() -> tuple[str, ...] | None:
    """The command that builds a kustomization here, or None."""
    if kustomize := shutil.which("kustomize"):
        return (kustomize, "build")
    if kubectl := shutil.which("kubectl"):
        return (kubectl, "kustomize")
    return None


def render(tree: Tree, directory: str, changed: Mapping[str, bytes], rules: RenderConfig = DEFAULTS) -> str | None:
    """The manifests of the overlay in `directory` with the `changed` files, None without a tool. Raises as `build`."""
    return build({**sources(tree, directory), **changed}, directory, rules) if tool() else None


def build(files: Mapping[str, bytes], directory: str, rules: RenderConfig = DEFAULTS) -> str | None:
    """The manifests that these files of a repository render to, built in `directory`; None when no tool is available.

    Raises:
        RefusedError: it does not build; the message is the tool's own. Or it would fetch what `rules` don't allow.
        NotBuiltHereError: it may build elsewhere.
        UnreachableError: the tool crashed, was ended, hung or printed nothing, which proves nothing.
    """
    command = tool()
    if command is None:
        return None
    require_inside(files, network=rules.network)
    _require_possible(files, rules)
    with temporary("render") as folder:
        for path, content in files.items():
            if not isinstance(content, Link):
                write_below(folder, path, content)
        for path, content in files.items():
            if isinstance(content, Link):
                link_below(folder, path, os.fsdecode(content))
        return _run(command, folder, directory, rules)


def _require_possible(files: Mapping[str, bytes], rules: RenderConfig) -> None:
    """Raises NotBuiltHereError."""
    if rules.cannot:
        raise NotBuiltHereError(f"Argo CD builds it with {rules.cannot}, which promoter does not use")
    if not rules.helm or not (missing := next(charts(files), "")):
        return
    if shutil.which("helm") is None:
        raise NotBuiltHereError(f"the chart {missing} needs helm, which is not here")
    if not rules.network:
        raise NotBuiltHereError(f"the chart {missing} is not in the repository, and render.network is not set")


def _run(command: tuple[str, ...], folder: Path, directory: str, rules: RenderConfig) -> str:
    # An overlay is text that a pull request may change: what builds it gets no token.
    environ = process.needed(os.environ, process.NETWORK if rules.network else ())
    try:
        done = process.run([*command, *rules.options, str(folder / directory)], environ=environ, seconds=_TIMEOUT)
    except process.HungError:
        raise _broken(directory, command, f"gave no answer in {_TIMEOUT:.0f} s and was ended") from None
    except OSError as error:
        raise resources.explained(error) or _broken(directory, command, f"can't be started: {error.strerror}") from None
    if (how := _crash(done)) is not None:
        raise _broken(directory, command, how)
    if done.status != 0:
        reason = _PREFIX.sub("", done.errors.strip()).replace(f"{folder}/", "").replace(str(folder), ".")
        option = next((option for words, option in _OPTIONS.items() if words in reason), "")
        hint = _AS_ARGOCD.format(option) if option else _HINT
        raise RefusedError(f"{directory} does not build: {reason}", hint=hint)
    return done.output


def _crash(done: process.Done) -> str | None:
    """How the tool itself failed; None if its answer is one about the overlay."""
    number = -done.status if done.status < 0 else done.status - 128  # a shell reports a signal so
    if number > 0:
        name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
        return f"was ended by {name}" + (": the machine may be out of memory" if number == signal.SIGKILL else "")
    if done.status != 0 and (found := _PANIC.search(done.errors)):
        return f"crashed: {found[0].strip()}"
    if done.status != 0 and not done.errors.strip():
        return f"ended with status {done.status} and no message"
    return "printed nothing" if done.status == 0 and not done.out.strip() else None


def _broken(directory: str, command: tuple[str, ...], how: str) -> UnreachableError:
    return UnreachableError(
        f"whether {directory} builds is unknown: {command[0]} {how}",
        hint="that proves nothing about the overlay: run it again, or install another kustomize",
    )


_PANIC = re.compile(r"^(panic:|fatal error:|runtime:|SIG[A-Z]+:).*", re.MULTILINE)  # how a Go program ends that has a fault
_PREFIX = re.compile(r"\A[Ee]rror: ")  # kustomize's and kubectl's, in front of what they report
_OPTIONS = {
    "must specify --enable-helm": "--enable-helm",
    "is not in or below": "--load-restrictor LoadRestrictionsNone",
}
_AS_ARGOCD = "if Argo CD builds it with kustomize.buildOptions, write into promoter.yaml: kustomize: {{build-options: {}}}"
_HINT = "Argo CD will fail to render this too; fix the overlay first, or skip this check with --no-render"


def sources(tree: Tree, directory: str) -> dict[str, bytes]:
    """What an overlay renders from: its folder and what its kustomizations name, found by asking the tree for each string.

    A symbolic link inside the repository is followed, as by Argo CD and kustomize, and is itself a `Link` among the files.

    Raises:
        NotBuiltHereError: links lead to each other without end, or to the whole repository.
    """
    files: dict[str, bytes] = {}
    asked: set[str] = set()
    wanted = {directory}
    links: dict[str, Link] = {}
    while wanted:
        found = _exported(tree, wanted, links)
        asked |= wanted
        wanted = {
            named
            for path, content in found.items()
            if path not in files and posixpath.basename(path) in KUSTOMIZATION_FILES
            for named in _named(content, path)
        } - asked
        files.update(found)
    return {**files, **links}


def _exported(tree: Tree, wanted: Iterable[str], links: dict[str, Link]) -> Mapping[str, bytes]:
    """What is there, under its real path; the `links` on the way are added to those that are known.

    A kustomization is not read through a link: what it names would not be looked for, nor refused if it is fetched.
    """
    while True:
        try:
            return tree.export(sorted({_real(path, links) for path in wanted}))
        except LinkError as error:
            if not leads_below(error.link, error.target) or posixpath.basename(error.link) in KUSTOMIZATION_FILES:
                raise NotBuiltHereError(f"{error.link} is a symbolic link to {error.target}", hint=error.hint) from None
            links[error.link] = Link(os.fsencode(error.target))


def _real(path: str, links: Mapping[str, Link]) -> str:
    """The path without a link on the way, as far as links are known."""
    for _ in range(_MOST_LINKS):
        link = next((one for one in links if path == one or path.startswith(f"{one}/")), None)
        if link is None:
            return path
        target = posixpath.join(posixpath.dirname(link), os.fsdecode(links[link]))
        path = posixpath.normpath(f"{target}{path.removeprefix(link)}")
    raise NotBuiltHereError(f"{path} leads through more than {_MOST_LINKS} symbolic links")


def _named(content: bytes, path: str) -> Iterator[str]:
    """Paths, from the repository's root, that strings of this kustomization may mean."""
    try:
        values = plain_values(content.decode(errors="replace"), path)
    except ConfigError:
        return  # the tool's own message is better
    folder = posixpath.dirname(path)
    for text in _strings(values):
        for part in (text, text.partition("=")[2]):
            target = posixpath.normpath(posixpath.join(folder, part)) if _may_be_path(part) else ".."
            if not target.startswith(("..", "/")) and target != ".":
                yield target


def _may_be_path(text: str) -> bool:
    """Whether a tree can be asked for it: no URL, and nothing that no path in Git can hold."""
    return bool(text) and "://" not in text and not set(text) & set("\0\n\\") and ".git" not in text.lower().split("/")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for child in value.values():
            yield from _strings(child)
    elif isinstance(value, list):
        for child in value:
            yield from _strings(child)
