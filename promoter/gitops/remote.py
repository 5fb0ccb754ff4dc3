"""One branch of one remote, as seen through a shallow, blobless bare cache: every method tries once, and says why it failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from promoter.errors import RefusedError, UsageError
from promoter.gitops import tree
from promoter.gitops.cache import Cache
from promoter.gitops.commit import LOG_FORMAT, Commit, Proposal, parse_log
from promoter.gitops.credentials import access, ssh_settings
from promoter.gitops.failures import GitError, Kind
from promoter.gitops.process import Git

_REMOTE = "promoter"
_TIP = "refs/promoter/tip"
_FALLBACK_IDENTITY = {"NAME": "promoter", "EMAIL": "promoter@users.noreply.github.com"}
_QUIET = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-gc", "--no-recurse-submodules")
_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_TRUE = ("true", "yes", "on", "1", "")


def is_id(text: str) -> bool:
    """Whether it is a full object id, of SHA-1 or SHA-256."""
    return _OBJECT_ID.fullmatch(text) is not None


class Remote:
    """`branch` of the repository at `url`; the cache's methods that write need `lock` to be held."""

    def __init__(
        self,
        url: str,
        branch: str,
        *,
        cache: Path,
        environ: Mapping[str, str],
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        reached = access(url, environ)
        self.url, self.branch = reached.address, branch
        self._cache = Cache(cache, reached.address, branch, sleep=sleep, clock=clock)
        self._access = reached
        self._filtered = True
        self._git = Git(self._cache.directory, reached.environ, reached.secrets)
        self.lock, self.discard = self._cache.lock, self._cache.discard

    # -- the remote ---------------------------------------------------------------------------------------------------

    def update(self) -> str:
        """Fetches the branch; its tip. The first time its newest commit alone, later what came since.

        Raises:
            GitError: the remote could not be fetched.
            RefusedError: the branch is not there.
        """
        self._cache.prepare(self._create, filtered=self._filtered)
        try:
            if self._git.succeeds("rev-parse", "--quiet", "--verify", _TIP):
                self._fetch(self._refspec())
            else:
                self._first_fetch()
        except GitError as error:
            if error.kind is Kind.MISSING_BRANCH:
                raise self._missing_branch() from None
            raise
        return self._git.text("rev-parse", "--verify", _TIP)

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

    def head(self, branch: str) -> str:
        """The commit that another branch points to now; empty when there is no such branch. Raises GitError."""
        return self._over_the_wire("ls-remote", _REMOTE, f"refs/heads/{branch}").decode().partition("\t")[0]

    def deepen(self, commit: str, depth: int) -> None:
        """Fetches history until `depth` commits below the branch's tip, and below `commit` where that is not on it."""
        self._fetch(self._refspec(), depth=depth)
        if not self.reaches(_TIP, commit):
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

    def blobs(self, ids: Iterable[str]) -> dict[str, bytes]:
        """The content of the blobs, by id: those not here yet come from the remote in one request.

        `noop`, because a shallow repository can't tell the remote what it has (git-config(1), fetch.negotiationAlgorithm).

        Raises:
            GitError: some could not be had.
        """
        wanted = list(ids)
        found = tree.blobs(self._git, wanted)
        missing = [id for id in dict.fromkeys(wanted) if id not in found]
        if not missing:
            return found
        try:
            self._fetch("--stdin", stdin="\n".join(missing).encode(), settings=[("fetch.negotiationAlgorithm", "noop")])
        except GitError as error:
            if error.kind in (Kind.FILTER, Kind.NO_BLOB):
                self._filtered = False  # it filters, and yet gives no single blob: the next cache holds all of them
            raise
        fetched = tree.blobs(self._git, missing)
        if len(fetched) < len(missing):
            raise GitError("fetch", 0, "", f"error: the remote did not send blob {missing[0]}")
        return found | fetched

    # -- the object database ------------------------------------------------------------------------------------------

    def has(self, commit: str) -> bool:
        """Whether the commit, a full object id, was fetched."""
        return is_id(commit) and self._git.succeeds("rev-parse", "--quiet", "--verify", f"{commit}^{{commit}}")

    def reaches(self, commit: str, ancestor: str) -> bool:
        """Whether `ancestor` is `commit` or below it, as far as history was fetched."""
        return self._git.succeeds("merge-base", "--is-ancestor", ancestor, commit)

    def boundary(self, commit: str) -> frozenset[str]:
        """Where the fetched history of `commit` ends although the remote has more; empty when its roots are here."""
        shallow = self._cache.shallow()
        return shallow & set(self._git.text("rev-list", "--max-parents=0", commit, "--").split()) if shallow else shallow

    def landed(self, commit: str, tip: str) -> bool:
        """Whether a commit of ours is on the branch whose tip is `tip`. Raises GitError."""
        # Where the cache was made anew since, nobody but the remote can have it.
        return self.reaches(tip, commit) or (not self.has(commit) and self.ensure(commit))

    def parent(self, commit: str) -> str:
        """The first parent, also where it was not fetched: `git log` hides those."""
        header = self._git.text("cat-file", "commit", commit).partition("\n\n")[0]
        return next((line.removeprefix("parent ") for line in header.splitlines() if line.startswith("parent ")), "")

    def depth(self, commit: str) -> int:
        """How many commits were fetched from this one down, along first parents."""
        return int(self._git.text("rev-list", "--count", "--first-parent", commit, "--"))

    def log(self, commit: str, paths: Sequence[str], limit: int) -> list[Commit]:
        """At most `limit` commits from this one down that touch a path, newest first; some may be of `boundary`."""
        options = ("--no-show-signature", "--no-mailmap", "--encoding=UTF-8", "--no-notes", f"--max-count={limit}")
        return list(parse_log(self._git.run("log", "-z", *options, f"--format={LOG_FORMAT}", commit, "--", *paths)))

    def find(self, commit: str, path: str) -> tree.Entry | None:
        return tree.find(self._git, commit, path)

    def files(self, commit: str, paths: Iterable[str]) -> dict[str, str]:
        return tree.files(self._git, commit, paths)

    def commit(self, tip: str, proposal: Proposal) -> Commit | None:
        """Writes the proposal as a child of `tip` into the object database; None when `tip` holds all of it already.

        Raises:
            GitError: it could not be written or signed.
            RefusedError: a path can't be written.
        """
        root = tree.write(self._git, tip, {tree.checked(path): content for path, content in proposal.files.items()})
        if root == self._git.text("rev-parse", f"{tip}^{{tree}}"):
            return None
        config = self._config()
        sign = ["-S"] if config.get("commit.gpgsign", "false").lower() in _TRUE else []
        git = Git(self._cache.directory, self._identity(config), self._access.secrets)
        made = git.run(
            "commit-tree",
            root,
            "-p",
            tip,
            *sign,
            "-F",
            "-",
            stdin=proposal.message(),
            settings=[("i18n.commitEncoding", "UTF-8")],
        )
        return self.log(made.decode().strip(), (), 1)[0]

    # -- inside -------------------------------------------------------------------------------------------------------

    def _create(self, directory: Path) -> None:
        git = Git(directory, self._access.environ, self._access.secrets)
        git.require_version()
        if not git.succeeds("check-ref-format", f"refs/heads/{self.branch}"):
            raise UsageError(f"'{self.branch}' can't be the name of a branch", hint="see git-check-ref-format(1)")
        git.run("init", "--quiet", "--bare", "--template=", "--initial-branch=promoter", str(directory))

    def _first_fetch(self) -> None:
        try:
            self._fetch(self._refspec(), depth=1)
        except GitError as error:
            if error.kind is Kind.FILTER and self._filtered:
                self._filtered = False
                self.discard()
                self._cache.prepare(self._create, filtered=False)
                self._first_fetch()
            elif error.kind is Kind.SHALLOW:
                self._fetch(self._refspec())
            else:
                raise

    def _fetch(self, *refspecs: str, depth: int = 0, stdin: bytes = b"", settings: Iterable[tuple[str, str]] = ()) -> None:
        partial = []
        if self._cache.filtered:
            partial = [(f"remote.{_REMOTE}.promisor", "true"), (f"remote.{_REMOTE}.partialCloneFilter", "blob:none")]
        deepening = [f"--depth={depth}"] if depth else []
        self._over_the_wire("fetch", *_QUIET, *deepening, _REMOTE, *refspecs, stdin=stdin, settings=[*partial, *settings])

    def _over_the_wire(self, *arguments: str, stdin: bytes = b"", settings: Iterable[tuple[str, str]] = ()) -> bytes:
        """The only commands that know the remote at all: no other one can reach for a missing object on its own."""
        known = [
            (f"remote.{_REMOTE}.url", self.url),
            ("core.hooksPath", "/dev/null"),
            ("gc.auto", "0"),
            ("maintenance.auto", "false"),
        ]
        environ = self._access.environ
        if not self.url.startswith(("http://", "https://", "/", "file://")):
            environ = {**environ, **ssh_settings(environ, "core.sshcommand" in self._config())}
        git = Git(self._cache.directory, environ, self._access.secrets)
        return git.run(*arguments, stdin=stdin, settings=[*known, *settings])

    def _refspec(self) -> str:
        return f"+refs/heads/{self.branch}:{_TIP}"

    def _config(self) -> dict[str, str]:
        """The user's configuration, by lower-case key; the last one of several values counts."""
        raw = self._git.run("config", "--list", "-z", "--includes").decode("utf-8", "replace")
        pairs = (line.partition("\n") for line in raw.split("\0") if line)
        return {key.lower(): value for key, _, value in pairs}

    def _identity(self, config: Mapping[str, str]) -> dict[str, str]:
        """The environment with an author and a committer for those who set none: git would guess them from the host's name."""
        environ = dict(self._access.environ)
        for role in ("AUTHOR", "COMMITTER"):
            for part, fallback in _FALLBACK_IDENTITY.items():
                configured = {f"user.{part.lower()}", f"{role.lower()}.{part.lower()}"} & set(config)
                if not configured and not (part == "EMAIL" and environ.get("EMAIL")):
                    environ.setdefault(f"GIT_{role}_{part}", fallback)
        return environ

    def _missing_branch(self) -> RefusedError:
        lines = self._over_the_wire("ls-remote", "--heads", _REMOTE).decode(errors="replace").splitlines()
        branches = [line.partition("refs/heads/")[2] for line in lines]
        if not branches:
            return RefusedError(
                f"{self.url} is empty: it has no branch {self.branch}", hint="push a first commit, or run `promoter init`"
            )
        some = ", ".join(branches[:5]) + (", …" if len(branches) > 5 else "")
        return RefusedError(
            f"{self.url} has no branch {self.branch}; it has {some}", hint="name one of them, or create the branch"
        )
