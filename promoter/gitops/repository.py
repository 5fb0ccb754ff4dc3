"""The Git repository that Argo CD reads: its tip, an edit applied to it and pushed, its history. Never a work tree."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from promoter.errors import RefusedError, UsageError
from promoter.gitops import tree
from promoter.gitops.commit import Commit, Proposal, Pushed
from promoter.gitops.failures import GitError, Kind, explained
from promoter.gitops.process import LIMITS, Limits
from promoter.gitops.remote import FIRST_DEPTH, Remote, is_id
from promoter.gitops.snapshot import Snapshot
from promoter.gitops.writers import Push, ThroughGitHub, Writer
from promoter.machine import resources

T = TypeVar("T")

_MOST_BROKEN_CONNECTIONS = 5
_EVERYTHING = 2**31 - 1  # a depth that git takes as infinite (git-fetch-pack(1), shallow.h: INFINITE_DEPTH)
_DEEPER = 8  # times as many commits with each fetch: what was fetched before is looked through again
_OUTAGE_BACKOFF, _LONGEST_OUTAGE_BACKOFF, _LONGEST_RACE_BACKOFF = 0.5, 4.0, 20.0  # seconds


class HistoryLimitError(UsageError):
    """The answer lies further down in the history than `git.history-limit` allows to fetch."""


class Repository:
    """`branch` of the repository at `url`, reached by `push_url` where that is given, for reading and writing.

    `cache` holds the caches of all remotes (see `default_cache`); processes of one machine share it and take turns.
    With `github_api` the commits are made by GitHub, which signs them. `wording` is what `worded` does, with the trailers
    that `circumstances` adds, `dated` and `checkout` as in Remote.
    A turn is waited for, and lost races are repeated, for `patience` seconds each; `limits` bounds each git process.
    Not for use by several threads at once.

    Every method that reaches the remote raises AuthError (credentials), UnreachableError (no answer, or races lost until the
    end), RefusedError (the branch is missing) and UsageError (no git, or an unusable cache folder).
    """

    def __init__(
        self,
        url: str,
        branch: str,
        *,
        push_url: str | None = None,
        cache: Path,
        environ: Mapping[str, str],
        github_api: bool = False,
        wording: Callable[[Proposal, Callable[[], str]], Proposal] | None = None,
        circumstances: Callable[[Proposal], tuple[tuple[str, str], ...]] | None = None,
        history_limit: int = 1_000_000,
        patience: float = 300.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        limits: Limits = LIMITS,
        dated: bool = False,
        checkout: Path | None = None,
    ) -> None:
        self._remote = Remote(
            push_url or url,
            branch,
            cache=cache,
            environ=environ,
            sleep=sleep,
            clock=clock,
            limits=limits,
            dated=dated,
            checkout=checkout,
        )
        self._new_writer = (
            _through_github(self._remote, push_url or url, environ) if github_api else partial(Push, self._remote)
        )
        self._wording, self._circumstances = wording, circumstances
        self._history_limit, self._patience = history_limit, patience
        self._sleep, self._clock = sleep, clock

    def default_branch(self) -> str:
        """The branch that the remote's HEAD is.

        Raises:
            RefusedError: it is none, or the repository is empty.
        """
        return self._persistently(lambda _: self._remote.default_branch())

    def branches(self, prefix: str) -> frozenset[str]:
        """The names of the branches below a prefix, in one request."""
        return self._persistently(lambda _: self._remote.branches(prefix))

    def fetch(self) -> Snapshot:
        """The branch's tip now."""
        return Snapshot(self._persistently(lambda _: self._remote.update()), self)

    def at(self, commit: str) -> Snapshot:
        """An older commit, or one that somebody else saw (the revision that Argo CD synced).

        Raises:
            RefusedError: the remote doesn't have it.
        """
        self._require(commit)
        return Snapshot(commit, self)

    def worded(self, proposal: Proposal) -> Proposal:
        """The proposal with the message that commits have in this repository, and the trailers of this run."""
        proposal = self._wording(proposal, self._remote.author) if self._wording else proposal
        return proposal.made_under(self._circumstances(proposal)) if self._circumstances else proposal

    def apply(self, edit: Callable[[Snapshot], Proposal | None]) -> Pushed:
        """Commits what `edit` proposes for the branch's tip, worded, and pushes it as that tip's child.

        When somebody else was faster, `edit` is called again with the new tip: it checks its own preconditions each time,
        and may raise. None, or files that are there already, mean that there is nothing to do. When the connection breaks
        during a push, the branch is read again before anything else: one call never leaves two commits.

        Raises:
            RefusedError: a rule of the server forbids the push, or a path can't be written.
            UsageError: the commit can't be signed.
        """
        writer = self._new_writer()

        def attempt(number: int) -> Pushed:
            tip = self._remote.update()
            if (earlier := writer.landed(tip)) is not None:
                return Pushed(earlier, tip, number - 1)
            proposal = edit(Snapshot(tip, self))
            proposal = self.worded(proposal) if proposal is not None else None
            root = self._remote.objects.write(tip, proposal.files) if proposal is not None else None
            if proposal is None or root is None:
                return Pushed(None, tip, number)
            commit = writer.write(tip, root, proposal)
            return Pushed(commit, commit.sha, number)

        return self._persistently(attempt)

    def require_push(self) -> None:
        """Asks whether the server would let us push. A rule for this branch may still refuse a commit.

        Raises:
            AuthError: it would not.
        """
        self._persistently(lambda _: self._remote.try_push(self._remote.update()))

    def propose(
        self, branch: str, edit: Callable[[Snapshot], Proposal | None], replacing: Callable[[Proposal], None]
    ) -> Commit | None:
        """Commits what `edit` proposes for the tip and makes it the head of `branch`, which is promoter's own.

        A head that proposes the same stays as it is, and reviews of it with it, while its files are on the tip what they were
        for it. `edit` words it. `replacing` is called before the branch gets another head. None: there is nothing to do. Raises
        as `apply`.
        """

        writer = self._new_writer()

        def attempt(_: int) -> Commit | None:
            tip = Snapshot(self._remote.update(), self)
            proposal = edit(tip)
            if proposal is None or all(tip.read(path) == content for path, content in proposal.files.items()):
                return None
            head = self._remote.head(branch)
            if head and self._proposes(head, proposal, tip):
                return self._remote.log.read(head, (), 1)[0]
            replacing(proposal)
            root = self._remote.objects.write(tip.commit, proposal.files)
            return writer.propose(branch, head, tip.commit, root, proposal) if root is not None else None

        return self._persistently(attempt, branch)

    def remove(self, branch: str, head: str) -> bool:
        """Removes another branch if `head` still is its commit; returns whether it did. Raises as `apply`."""

        def attempt(_: int) -> bool:
            self._remote.update()
            if self._remote.head(branch) != head:
                return False
            self._remote.push("", head, branch)
            return True

        return self._persistently(attempt, branch)

    def history(self, paths: Sequence[str], *, limit: int, start: str | None = None, full: bool = False) -> Iterator[Commit]:
        """The newest commits that touch the paths, at most `limit`, from `start` (default: the tip now) down.

        Older history is fetched only when the iteration gets there, eight times as deep each time. It ends early where none of
        the paths existed: what once stood at a path before it was created again is not searched for.

        `full`: on every side of a merge, children before parents, and every merge that leaves the paths not as each parent had
        them. Otherwise a merge that leaves them as one parent had them is followed to that parent alone.

        Raises:
            HistoryLimitError: during the iteration, when more is asked for than `history_limit` commits hold.
        """
        plain = tree.normalize_all(paths)
        start = start or self.fetch().commit
        self._require(start)
        depths = self._depths(start)
        seen: set[str] = set()
        while True:
            boundary = self._boundary(start)
            for commit in self._reading(start, lambda: self._remote.log.read(start, plain, limit, full=full)):
                if commit.sha in boundary:
                    break  # more history may show that it did something else
                if commit.sha not in seen:
                    seen.add(commit.sha)
                    yield commit
            if len(seen) >= limit or not self._continues(boundary, plain):
                return
            self._deepen(start, next(depths))

    def newer(self, paths: Sequence[str], start: str, above: str) -> list[Commit] | None:
        """What a full `history` from `start` lists before it comes to `above`; None when `start` is not built on that.

        Nothing is fetched for it, and None, too, when some of the commits in between are not here.
        """
        plain = tree.normalize_all(paths)

        def read() -> list[Commit] | None:
            if not self._remote.log.is_whole(start, above):
                return None
            return self._remote.log.read(f"{above}..{start}", plain, _EVERYTHING, full=True)

        return [] if start == above else self._reading(start, read)

    def kept(self, name: str) -> bytes:
        """What `keep` kept in the cache under this name; empty when it is lost."""
        return self._remote.kept(name)

    def keep(self, name: str, content: bytes) -> None:
        """Keeps a file in the cache, as long as the cache lasts."""
        self._remote.keep(name, content)

    def search(self, pattern: str, start: str) -> list[Commit]:
        """Every commit at or below `start`, by any parent, with a line of its message that matches, the oldest first.

        The whole history is fetched for it, whatever `history_limit` is. `pattern` is a basic regular expression.
        """
        self._require(start)
        if self._boundary(start):
            self._deepen(start, _EVERYTHING)
        return self._reading(start, lambda: self._remote.log.search(start, pattern))

    def parent(self, commit: str) -> str:
        """The commit's first parent, "" for a root."""
        return self._reading(commit, lambda: self._remote.log.parent(commit))

    def moved_from(self, commit: str, path: str) -> str | None:
        """Where the file that the commit brought to `path` was before it, under the same name; None when it was not moved.

        A file was moved if the commit's first parent has the same content elsewhere, and the commit has nothing there any more.
        """
        parent = self.parent(commit)
        if not parent:
            return None
        self._require(parent)

        def read() -> str | None:
            changed = self._remote.objects.changed(commit, parent)
            _, id = changed.get(path, ("", ""))
            name = path.rpartition("/")[2]
            moved = (old for old, pair in changed.items() if pair == (id, "") and old.rpartition("/")[2] == name)
            return next(moved, None) if id else None

        return self._reading(commit, read)

    def read_ahead(self, commits: Collection[str], paths: Sequence[str]) -> None:
        """Fetches and reads what is at the paths in each of the commits in as few requests as can be: they are read next."""
        plain = tree.normalize_all(paths)
        self._reading(next(iter(commits)), lambda: self._remote.objects.read_ahead(commits, plain))

    def changed(self, commit: Commit, name: str) -> dict[str, tuple[bytes, bytes]]:
        """The content, before and after, of every file of this name that the commit changes, by path; b"" if it did not exist.

        A merge is compared with its first parent, a root commit with nothing.
        """

        def read() -> dict[str, tuple[bytes, bytes]]:
            parent = self._remote.log.parent(commit.sha)
            ids = self._remote.objects.changed(commit.sha, parent) if parent else {}
            ids = {path: pair for path, pair in ids.items() if path.rpartition("/")[2] == name}
            blobs = self._remote.objects.blobs({id for pair in ids.values() for id in pair if id})
            return {path: (blobs.get(old, b""), blobs.get(new, b"")) for path, (old, new) in ids.items()}

        return self._reading(commit.sha, read)

    def is_ancestor(self, ancestor: str, commit: str) -> bool:
        """Whether `ancestor` is `commit` or one of its ancestors; False, too, when the remote doesn't have `commit`.

        Raises:
            HistoryLimitError: not decided within `history_limit` commits.
        """
        if ancestor == commit:
            return True
        if not self._available(commit) or not is_id(ancestor):
            return False
        depths = self._depths(commit)
        while not self._remote.log.reaches(commit, ancestor):
            if self._remote.log.reaches(ancestor, commit) or not self._boundary(commit):
                return False
            self._deepen(commit, next(depths))
        return True

    # -- for Snapshot -------------------------------------------------------------------------------------------------

    def entry(self, commit: str, path: str) -> tree.Entry | None:
        """What is at a checked path."""
        return self._reading(commit, lambda: self._remote.objects.find(commit, [path])).get(path)

    def blob(self, commit: str, id: str) -> bytes:
        """The content of one blob of the commit."""
        return self._reading(commit, lambda: self._remote.objects.blobs([id])[id])

    def export(self, commit: str, paths: Sequence[str]) -> dict[str, bytes]:
        """The bytes of every regular file at or below the checked paths."""

        def read() -> dict[str, bytes]:
            ids = self._remote.objects.files(commit, paths)
            blobs = self._remote.objects.blobs(ids.values())
            return {path: blobs[id] for path, id in ids.items()}

        return self._reading(commit, read)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _proposes(self, head: str, proposal: Proposal, tip: Snapshot) -> bool:
        """Whether a commit is this proposal, made where the files were what they are at `tip`."""
        if not self._available(head) or not proposal.is_recorded_by(self._remote.log.read(head, (), 1)[0].trailers):
            return False
        try:
            made, base = Snapshot(head, self), self.at(self._remote.log.parent(head))
            return all(
                (path in proposal.dated or made.read(path) == content) and base.blob_id(path) == tip.blob_id(path)
                for path, content in proposal.files.items()
            )
        except RefusedError:
            return False  # the remote does not give it any more: a new one is made

    def _persistently(self, action: Callable[[int], T], branch: str = "") -> T:
        """The action's result, with this branch locked on this machine; tried again as long as that can help."""
        broken, healed = 0, False
        with self._remote.lock(self._clock() + self._patience):
            deadline = self._clock() + self._patience
            for number in itertools.count(1):
                started = self._clock()
                try:
                    return action(number)
                except OSError as error:
                    raise resources.explained(error) or error from None
                except GitError as error:
                    broken = broken + 1 if error.kind is Kind.UNREACHABLE else 0
                    hopeless = self._clock() > deadline or broken >= _MOST_BROKEN_CONNECTIONS
                    if error.kind in (Kind.CACHE, Kind.FILTER, Kind.NO_OBJECT) and not healed:
                        healed = True
                        self._remote.discard()
                    elif error.kind is Kind.RACE and not hopeless:
                        # Counted in tries of this length: the others need as long for theirs, here or on a slow remote.
                        self._back_off(min(_LONGEST_RACE_BACKOFF, (self._clock() - started) * 2 ** min(number - 1, 9)))
                    elif error.kind is Kind.UNREACHABLE and not hopeless:
                        self._back_off(min(_LONGEST_OUTAGE_BACKOFF, _OUTAGE_BACKOFF * 2**broken))
                    elif error.kind is Kind.FULL:
                        raise resources.full(self._remote.folder) from None
                    else:
                        raise explained(error, self._remote.url, branch or self._remote.branch) from None
        raise AssertionError("unreachable: the loop has no end")

    def _back_off(self, most: float) -> None:
        """Full jitter: any moment until then is as good as another."""
        self._sleep(random.uniform(0, most))  # noqa: S311 - jitter, not a secret

    def _reading(self, commit: str, read: Callable[[], T]) -> T:
        """What is read without waiting for anybody; when the cache fails, once more in turn, on a sound cache."""
        try:
            return read()
        except OSError as error:
            raise resources.explained(error) or error from None
        except GitError:
            pass

        def again(_: int) -> T:
            self._remote.ensure(commit)
            return read()

        return self._persistently(again)

    def _available(self, commit: str) -> bool:
        return self._remote.has(commit) or self._persistently(lambda _: self._remote.ensure(commit))

    def _require(self, commit: str) -> None:
        if not self._available(commit):
            raise RefusedError(
                f"{self._remote.url} has no commit {commit}",
                hint=f"it may have been removed from {self._remote.branch} by a forced push, or be of another repository",
            )

    def _boundary(self, commit: str) -> frozenset[str]:
        return self._reading(commit, lambda: self._remote.log.boundary(commit))

    def _continues(self, boundary: Iterable[str], paths: Sequence[str]) -> bool:
        """Whether one of the paths existed already where the fetched history ends."""
        return any(self._remote.objects.find(commit, paths) for commit in boundary)

    def _deepen(self, commit: str, depth: int) -> None:
        self._persistently(lambda _: self._remote.deepen(commit, depth))

    def _depths(self, commit: str) -> Iterator[int]:
        """More commits each time, at last the limit; then raises HistoryLimitError."""
        fetched = self._remote.log.depth(commit)
        depth = max(FIRST_DEPTH, _DEEPER * fetched)
        while depth < self._history_limit:
            yield depth
            depth *= _DEEPER
        if fetched < self._history_limit:
            yield self._history_limit
        raise HistoryLimitError(
            f"{self._remote.url}: the newest {self._history_limit} commits do not hold the answer",
            hint="raise `git.history-limit` in promoter.yaml",
        )


def _through_github(remote: Remote, url: str, environ: Mapping[str, str]) -> Callable[[], Writer]:
    from promoter.gitops.github_api import GitHubCommits

    return partial(ThroughGitHub, remote, GitHubCommits(url, remote.branch, environ))
