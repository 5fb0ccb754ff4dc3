"""One branch of a remote, through a shallow bare cache of what was needed. Each method tries once and reports why it failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from promoter.errors import UsageError
from promoter.gitops.cache import Cache
from promoter.gitops.checkout import git_directory
from promoter.gitops.configuration import configuration, signing, signs, undated, with_identity
from promoter.gitops.credentials import access, address, local, ssh_settings
from promoter.gitops.failures import GitError, Kind
from promoter.gitops.log import Log
from promoter.gitops.objects import Objects
from promoter.gitops.process import LIMITS, Git, Limits
from promoter.gitops.refs import Refs

FIRST_DEPTH = 64
"""Commits below the tip that are fetched at once when more than the tip is asked for."""

_REMOTE = "promoter"
_TIP = "refs/promoter/tip"
_QUIET = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules")
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

# What a fetch brings in addition to named objects (git-rev-list(1), --filter). Of the branch the commits alone: with trees
# the remote would send deltas against trees of other paths, which git would fetch in their turn, whole.
_COMMITS, _TREES = "tree:0", "blob:none"


def is_id(text: str) -> bool:
    """Whether it is a full object id, of SHA-1 or SHA-256."""
    return _OBJECT_ID.fullmatch(text) is not None


class Remote:
    """`branch` of the repository at `url`; the methods that write to the cache need `lock` to be held.

    What was fetched is in `objects`, and its history in `log`.

    `dated`: GIT_AUTHOR_DATE and GIT_COMMITTER_DATE of `environ` date the commits. `checkout` is the folder that the user works
    in: commits have the author that Git would give them there.
    """

    def __init__(
        self,
        url: str,
        branch: str,
        *,
        cache: Path,
        environ: Mapping[str, str],
        sleep: Callable[[float], None],
        clock: Callable[[], float],
        limits: Limits = LIMITS,
        dated: bool = False,
        checkout: Path | None = None,
    ) -> None:
        self.url, self.branch = address(url), branch
        self._cache = Cache(cache, self.url, branch, sleep=sleep, clock=clock)
        self._given_url, self._environ, self._dated = url, environ, dated
        self._limits, self._local = limits, local(environ)
        self._git = Git(self._cache.directory, self._local, limits)
        self._checkout = checkout
        self._filters: tuple[str, ...] = (_COMMITS, _TREES)
        self._format = "sha1"
        self._last_tip, self._checked = "", False
        self.objects = Objects(self._git, self._fetch_objects)
        self.log = Log(self._git, self.objects, self._cache.shallow)
        self.lock, self.kept, self.keep = self._cache.lock, self._cache.kept, self._cache.keep

    @property
    def _refs(self) -> Refs:
        return Refs(self.url, self._list)

    @property
    def folder(self) -> Path:
        """Where the caches of all remotes are."""
        return self._cache.directory.parent

    # -- the remote ---------------------------------------------------------------------------------------------------

    def update(self) -> str:
        """Fetches the branch; its tip. The first time its newest commit alone, later what came since.

        Raises:
            GitError: the remote could not be fetched.
            BranchGoneError: the branch is not there.
        """
        self._prepare()
        try:
            if (self._cache.directory / _TIP).exists():
                self._fetch(self._refspec())
            else:
                self.objects.forget()
                self._first_fetch()
        except GitError as error:
            if error.kind is Kind.MISSING_BRANCH:
                raise self._refs.missing(self.branch) from None
            raise
        tip = self._tip()
        if tip != self._last_tip:
            self.objects.forget()
        self._last_tip = tip
        return tip

    def discard(self) -> None:
        """Throws the cache away, with what was read from it; the next `update` starts over."""
        self._cache.discard()
        self.objects.forget()
        self._last_tip = ""

    def push(self, commit: str, tip: str, branch: str = "") -> None:
        """Makes `commit` the tip of the branch (or another), if that still is `tip` (git-push(1), --force-with-lease).

        An empty `tip` is a branch that is not there, an empty `commit` removes it. Raises GitError.
        """
        target = f"refs/heads/{branch or self.branch}"
        self._over_the_wire(
            "push",
            "--porcelain",
            "--no-verify",
            "--no-follow-tags",
            "--recurse-submodules=no",
            f"--force-with-lease={target}:{tip}",
            _REMOTE,
            f"{commit}:{target}",
        )

    def try_push(self, tip: str) -> None:
        """Asks the server for a push that would change nothing (git-push(1), --dry-run). Raises GitError."""
        self._over_the_wire("push", "--dry-run", "--porcelain", "--no-verify", _REMOTE, f"{tip}:refs/heads/{self.branch}")

    def head(self, branch: str) -> str:
        """The commit that another branch points to now; empty if it does not exist. Raises GitError."""
        return self._refs.head(branch)

    def branches(self, prefix: str) -> frozenset[str]:
        """The names of those below a prefix. Raises GitError."""
        return self._refs.below(prefix)

    def default_branch(self) -> str:
        """The branch that the remote's HEAD is. Raises GitError, BranchGoneError."""
        self._cache.prepare(self._create, filters=self._filters)
        return self._refs.default_branch()

    def deepen(self, commit: str, depth: int) -> None:
        """Fetches history until `depth` commits below the branch's tip, and below `commit` where that is not on it."""
        self._fetch(self._refspec(), depth=depth)
        if not self.log.reaches(_TIP, commit):
            self._fetch(commit, depth=depth)

    def ensure(self, commit: str) -> bool:
        """Whether the commit, a full object id, is here, after asking the remote if need be. Raises GitError."""
        if not is_id(commit):
            return False
        if self.has(commit):
            return True
        self.update()
        if self.has(commit):
            return True
        try:
            self._fetch(commit, depth=1)
        except GitError as error:
            if error.kind in (Kind.AUTH, Kind.UNREACHABLE):
                raise
        return self.has(commit)

    # -- the object database ------------------------------------------------------------------------------------------

    def has(self, commit: str) -> bool:
        """Whether the commit, a full object id, was fetched."""
        if self.objects.knows(commit):
            return True
        self._checked = self._checked or self._cache.is_sound()
        if not self._checked:
            return False  # the next update starts over
        return is_id(commit) and self._git.succeeds("rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}")

    def commit_tree(self, root: str, parent: str, message: bytes) -> str:
        """The id of a new commit, signed where the user signs. Raises GitError."""
        settings = self._settings()
        sign = ["-S"] if signs(settings) else []
        environ = with_identity(self._local if self._dated else undated(self._local), settings)
        arguments = ("commit-tree", root, "-p", parent, *sign, "-F", "-")
        given = [("i18n.commitEncoding", "UTF-8"), *(signing(settings) if sign else ())]
        return self._git.run(*arguments, stdin=message, settings=given, environ=environ).decode().strip()

    def author(self) -> str:
        """`Name <address>` of the author of the commits made here. Raises GitError."""
        environ = with_identity(self._local, self._settings())
        found = self._git.run("var", "GIT_AUTHOR_IDENT", environ=environ).decode("utf-8", "surrogateescape")
        return found.rpartition(">")[0] + ">"

    # -- inside -------------------------------------------------------------------------------------------------------

    def _settings(self) -> dict[str, str]:
        directory = git_directory(self._checkout) if self._checkout else None
        return configuration(Git(directory, self._local, self._limits) if directory and directory.exists() else self._git)

    def _tip(self) -> str:
        """The branch's tip as fetched, from the ref's file, unless git has packed its refs (gitrepository-layout(5))."""
        try:
            text = (self._cache.directory / _TIP).read_text(errors="replace").strip()
        except OSError:
            text = ""
        return text if is_id(text) else self._git.text("rev-parse", "--verify", _TIP)

    def _prepare(self) -> None:
        self._cache.prepare(self._create, filters=self._filters, format=self._format)
        self._checked = True

    def _create(self, directory: Path) -> None:
        git = Git(directory, self._local, self._limits)
        git.require_version()
        if not git.succeeds("check-ref-format", f"refs/heads/{self.branch}"):
            raise UsageError(f"'{self.branch}' can't be the name of a branch", hint="see git-check-ref-format(1)")
        format = [f"--object-format={self._format}"] if self._format != "sha1" else []
        git.run("init", "--quiet", "--bare", "--template=", "--initial-branch=promoter", *format, str(directory))

    def _first_fetch(self) -> None:
        """The newest commit alone, in what the server can do of what is asked."""
        depth = 1
        while True:
            try:
                self._fetch(self._refspec(), depth=depth)
            except GitError as error:
                if error.kind is Kind.SHALLOW and depth:
                    depth = 0
                elif error.kind is Kind.FORMAT and self._format == "sha1":
                    self._format = "sha256"
                elif error.kind is not Kind.FILTER or not self._less():
                    raise
                self.discard()
                self._prepare()
            else:
                return

    def _less(self) -> bool:
        """The next cache filters less: whether there was anything left to do without."""
        left = len(self._filters)
        self._filters = self._filters[1:]
        return left > 0

    def _fetch_objects(self, ids: Collection[str], below: bool) -> None:
        """`noop`: a shallow repository can't tell the remote what it has (git-config(1), fetch.negotiationAlgorithm)."""
        settings = [("fetch.negotiationAlgorithm", "noop")]
        try:
            self._fetch("--stdin", filter=_TREES if below else _COMMITS, stdin="\n".join(ids).encode(), settings=settings)
        except GitError as error:
            if error.kind in (Kind.FILTER, Kind.NO_OBJECT):
                self._filters = ()  # it filters, but does not serve single objects: the next cache contains all of them
            raise

    def _fetch(
        self,
        *refspecs: str,
        filter: str = _COMMITS,
        depth: int = 0,
        stdin: bytes = b"",
        settings: Iterable[tuple[str, str]] = (),
    ) -> None:
        partial = []
        if filters := self._cache.filters:
            wanted = filter if filter in filters else filters[0]
            partial = [(f"remote.{_REMOTE}.promisor", "true"), (f"remote.{_REMOTE}.partialCloneFilter", wanted)]
        deepening = [f"--depth={depth}"] if depth else []
        self._over_the_wire("fetch", *_QUIET, *deepening, _REMOTE, *refspecs, stdin=stdin, settings=[*partial, *settings])

    def _list(self, *arguments: str, environ: Mapping[str, str]) -> bytes:
        return self._over_the_wire("ls-remote", *arguments[:-1], _REMOTE, arguments[-1], environ=environ)

    def _over_the_wire(
        self,
        *arguments: str,
        stdin: bytes = b"",
        settings: Iterable[tuple[str, str]] = (),
        environ: Mapping[str, str] | None = None,
    ) -> bytes:
        """The only commands that know the remote at all: no other one can reach for a missing object on its own."""
        options = [
            (f"remote.{_REMOTE}.url", self.url),
            ("core.hooksPath", "/dev/null"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
        ]
        reached = access(self._given_url, self._environ, self._local)  # again each time: a token may have expired since
        environ = {**reached.environ, **(environ or {})}
        if not self.url.startswith(("http://", "https://", "/", "file://")):
            environ = {**environ, **ssh_settings(environ, configuration(self._git))}
        return self._git.run(*arguments, stdin=stdin, settings=[*options, *settings], environ=environ)

    def _refspec(self) -> str:
        return f"+refs/heads/{self.branch}:{_TIP}"
