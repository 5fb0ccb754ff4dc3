"""The user's Git configuration, as far as a commit depends on it: its author and committer, and whether it is signed."""

from __future__ import annotations

import re
from collections.abc import Mapping

from promoter.gitops.process import Git

_FALLBACK_IDENTITY = {"NAME": "promoter", "EMAIL": "promoter@users.noreply.github.com"}
_DATES = frozenset({"GIT_AUTHOR_DATE", "GIT_COMMITTER_DATE"})
_OWN = frozenset({"local", "worktree"})
_IDENTITY = re.compile(r"(user|author|committer)\.(name|email)")
_SIGNING = re.compile(r"user\.signingkey|gpg\..*")
_TRUE = ("true", "yes", "on", "1", "")


def configuration(git: Git) -> dict[str, str]:
    """Every setting, by lower-case key; the last one of several values counts. Raises GitError.

    Of what the repository of `git` has of its own, only names and addresses: it may be a checkout that belongs to somebody
    else, and other settings name programs.
    """
    words = git.run("config", "--list", "-z", "--includes", "--show-scope").decode("utf-8", "replace").split("\0")
    found = {}
    for scope, line in zip(words[::2], words[1::2], strict=False):
        key, _, value = line.partition("\n")
        if scope not in _OWN or _IDENTITY.fullmatch(key.lower()):
            found[key.lower()] = value
    return found


def undated(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment without the dates that whoever called promoter gives to commits of their own."""
    return {name: value for name, value in environ.items() if name not in _DATES}


def signs(settings: Mapping[str, str]) -> bool:
    """Whether commits are to be signed (git-config(1), commit.gpgSign)."""
    return settings.get("commit.gpgsign", "false").lower() in _TRUE


def signing(settings: Mapping[str, str]) -> list[tuple[str, str]]:
    """How commits are signed, for a repository where a condition of the user's configuration (includeIf) may not hold."""
    return [(key, value) for key, value in settings.items() if _SIGNING.fullmatch(key)] if signs(settings) else []


def with_identity(environ: Mapping[str, str], settings: Mapping[str, str]) -> dict[str, str]:
    """The environment with an author and a committer, those of the settings if it has none (git-config(1): author.name).

    If neither has one, promoter is it: git would guess it from the host's name.
    """
    result = dict(environ)
    for role in ("AUTHOR", "COMMITTER"):
        for part, fallback in _FALLBACK_IDENTITY.items():
            name = part.lower()
            configured = settings.get(f"{role.lower()}.{name}") or settings.get(f"user.{name}")
            if configured or not (part == "EMAIL" and environ.get("EMAIL")):
                result.setdefault(f"GIT_{role}_{part}", configured or fallback)
    return result
