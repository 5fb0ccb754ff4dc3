"""What servers answer, in their own words, and what that means: who has to act, and whether it is tried again."""

from __future__ import annotations

from pathlib import Path

import pytest

from promoter.gitops.failures import GitError, Kind
from promoter.gitops.process import Git
from tests.support.git_server import bare_repository, isolated_environ

_REJECTED = " ! [remote rejected] HEAD -> main"
_SSH = """
fatal: Could not read from remote repository.

Please make sure you have the correct access rights
and the repository exists."""

TEXTS = {
    "GitHub, a ruleset": (
        "push",
        f"remote: error: GH013: Repository rule violations found for refs/heads/main.\n{_REJECTED} (push declined due to "
        "repository rule violations)",
        Kind.POLICY,
    ),
    "GitHub, a race of an identity that may bypass the ruleset": (
        "push",
        "remote: Bypassed rule violations for refs/heads/main:\nremote:\nremote: - Changes must be made through a pull request.\n"
        f"{_REJECTED} (cannot lock ref 'refs/heads/main': is at 1 but expected 2)",
        Kind.RACE,
    ),
    "GitHub, a branch protection": (
        "push",
        f"remote: error: GH006: Protected branch update failed for refs/heads/main.\n{_REJECTED} (protected branch hook declined)",
        Kind.POLICY,
    ),
    "GitHub, on a bad day": ("push", f"{_REJECTED} (Internal Server Error)", Kind.UNREACHABLE),
    "GitLab, on a bad day": (
        "push",
        f"remote: GitLab: Internal API error (500).\n{_REJECTED} (Internal API error)",
        Kind.UNREACHABLE,
    ),
    "Gitea, on a bad day": ("push", f"{_REJECTED} (Git: internal error)", Kind.UNREACHABLE),
    "GitLab, a protected branch": (
        "push",
        f"remote: GitLab: You are not allowed to push code to protected branches on this project.\n{_REJECTED} (pre-receive hook declined)",
        Kind.POLICY,
    ),
    "Azure DevOps, a branch policy": (
        "push",
        f"{_REJECTED} (TF402455: Pushes to this branch are not permitted; you must use a pull request to update this branch.)",
        Kind.POLICY,
    ),
    "Azure DevOps, a race": (
        "push",
        f"{_REJECTED} (TF401028: The reference has already been updated by another client)",
        Kind.RACE,
    ),
    "any hook": ("push", f"{_REJECTED} (pre-receive hook declined)", Kind.POLICY),
    "GitHub, a deploy key that may only read": (
        "push",
        f"ERROR: The key you are authenticating with has been marked as read only.{_SSH}",
        Kind.AUTH,
    ),
    "GitHub, SAML": (
        "fetch",
        "ERROR: The 'acme' organization has enabled or enforced SAML SSO.\nTo access this repository, you must use the HTTPS remote "
        f"with a personal access token or SSH with an SSH key that has been authorized for this organization.{_SSH}",
        Kind.AUTH,
    ),
    "GitLab, a project that is not shown": (
        "fetch",
        "remote: ERROR: The project you were looking for could not be found or you don't have permission to view it." + _SSH,
        Kind.AUTH,
    ),
    "SSH, an unknown host": ("fetch", f"Host key verification failed.{_SSH}", Kind.AUTH),
    "SSH, no answer": ("fetch", f"ssh: connect to host github.com port 22: Connection timed out{_SSH}", Kind.UNREACHABLE),
    "HTTP 503": ("fetch", "fatal: unable to access 'https://x/': The requested URL returned error: 503", Kind.UNREACHABLE),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_refusal_is_classified_by_its_reason(name: str) -> None:
    command, text, kind = TEXTS[name]
    assert GitError(command, 1, "", text).kind is kind


def test_a_git_that_starts_itself_without_end_means_a_broken_cache(tmp_path: Path) -> None:
    """As git does before 2.38, when the tip of a partial clone is lost."""
    bare = bare_repository(tmp_path)
    with pytest.raises(GitError, match="starts itself without end") as caught:
        Git(bare.path, isolated_environ(tmp_path / "home")).run("again", settings=[("alias.again", "!git again")])
    assert caught.value.kind is Kind.CACHE
