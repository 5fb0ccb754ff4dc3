"""Git: fetch a branch's tip, apply an edit to it, push the commit, read the history. The only door to git."""

from promoter.gitops.cache import default_cache
from promoter.gitops.commit import Commit, Proposal, Pushed, trailers_of
from promoter.gitops.refs import BranchGoneError
from promoter.gitops.repository import HistoryLimitError, Repository
from promoter.gitops.snapshot import Snapshot

__all__ = [
    "BranchGoneError",
    "Commit",
    "HistoryLimitError",
    "Proposal",
    "Pushed",
    "Repository",
    "Snapshot",
    "default_cache",
    "trailers_of",
]
