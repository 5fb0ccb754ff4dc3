"""The user's Git configuration, as far as a commit depends on it: its author and committer, and whether it is signed."""

from __future__ import annotations

from collections.abc import Mapping

from promoter.gitops.process import Git

_FALLBACK_IDENTITY = {"NAME": "promoter", "EMAIL": "promoter@users.noreply.github.com"}
_DATES = frozenset({"GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"})
_TRUE = ("true", "yes", "on", "1", "")


def configuration(git: Git) -> dict[str, str]:
    """Every setting, by lower-case key; the last one of several values counts. Raises GitError."""
    raw = git.run("config", "--list", "-z", "--includes").decode("utf-8", "replace")
    pairs = (line.partition("\n") for line in raw.split("\0") if line)
    return {key.lower(): value for key, _, value in pairs}


def undated(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the dates that whoever called promoter gives to commits of their own."""
    return {name: value for name, value in environ.items() if name not in _DATES}


def signs(settings: Mapping[str, str]) -> bool:
    """Whether commits are to be signed (git-config(1), commit.gpgSign)."""
    return settings.get("commit.gpgsign", "false").lower() in _TRUE


def with_identity(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The environment with an author and a committer if none is set: git would guess them from the host's name."""
    result = dict(environ)
    for role in ("AUTHOR", "COMMITTER"):
        for part, fallback in _FALLBACK_IDENTITY.items():
            configured = {f"user.{part.lower()}", f"{role.lower()}.{part.lower()}"} & set(settings)
            if not configured and not (part == "EMAIL" and environ.get("EMAIL")):
                result.setdefault(f"GIT_{role}_{part}", fallback)
    return result
