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
    "GitHub, a token that may only read": (
        "push",
        "remote: Permission to acme/gitops.git denied to ci-bot.\n"
        "fatal: unable to access 'https://github.com/acme/gitops.git/': The requested URL returned error: 403",
        Kind.AUTH,
    ),
    "GitHub, an archived repository": (
        "push",
        f"ERROR: This repository was archived so it is read-only.{_SSH}",
        Kind.AUTH,
    ),
    "GitHub, a reference that can't be written now": (
        "push",
        f"remote: fatal error in commit_refs\n{_REJECTED} (failure)",
        Kind.UNREACHABLE,
    ),
    "GitLab, a deploy key that may only read": (
        "push",
        f"remote: ERROR: This deploy key does not have write access to this project.{_SSH}",
        Kind.AUTH,
    ),
    "GitLab, a guest": (
        "push",
        f"remote: GitLab: You are not allowed to push code to this project.\n{_REJECTED} (pre-receive hook declined)",
        Kind.AUTH,
    ),
    "GitLab, a push rule": (
        "push",
        f"remote: GitLab: Commit message does not follow the pattern 'JIRA-\\d+'\n{_REJECTED} (pre-receive hook declined)",
        Kind.POLICY,
    ),
    "GitLab, a wrong token": (
        "fetch",
        "remote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://gitlab.com/acme/gitops.git/'",
        Kind.AUTH,
    ),
    "Azure DevOps, no right to contribute": (
        "push",
        f"{_REJECTED} (TF401027: You need the Git 'GenericContribute' permission to perform this action. Details: identity 'x')",
        Kind.AUTH,
    ),
    "Azure DevOps, a repository that is not shown": (
        "fetch",
        "remote: TF401019: The Git repository with name or identifier gitops does not exist or you do not have permissions for the "
        f"operation you are attempting.{_SSH}",
        Kind.AUTH,
    ),
    "Bitbucket, an access key that may only read": (
        "push",
        f"repository access denied. access via a deployment key is read-only.{_SSH}",
        Kind.AUTH,
    ),
    "Bitbucket, a key of another repository": ("fetch", f"conq: repository does not exist.{_SSH}", Kind.AUTH),
    "Bitbucket, no right": ("fetch", f"Unauthorized{_SSH}", Kind.AUTH),
    "Bitbucket, a branch restriction": (
        "push",
        "remote: Branch refs/heads/main can only be modified through pull requests.\nremote: Check your branch permissions "
        f"configuration with the project administrator.\n{_REJECTED} (pre-receive hook declined)",
        Kind.POLICY,
    ),
    "CodeCommit, a policy of IAM": (
        "push",
        "fatal: unable to access 'https://git-codecommit.us-east-1.amazonaws.com/v1/repos/gitops/': The requested URL returned "
        "error: 403",
        Kind.AUTH,
    ),
    "CodeCommit, too many requests": (
        "fetch",
        "fatal: unable to access 'https://git-codecommit.us-east-1.amazonaws.com/v1/repos/gitops/': The requested URL returned "
        "error: 429",
        Kind.UNREACHABLE,
    ),
    "Gitea, a protected branch": (
        "push",
        f"remote: Gitea: Not allowed to push to protected branch main\n{_REJECTED} (pre-receive hook declined)",
        Kind.POLICY,
    ),
    "Gitea, a user who may only read": (
        "push",
        f"remote:\nremote: Gitea: User permission denied for writing.\n{_REJECTED} (pre-receive hook declined)",
        Kind.AUTH,
    ),
    "Gitea, a key without access": ("fetch", f"Gitea: Unauthorized{_SSH}", Kind.AUTH),
    "any server, an answer that was lost": (
        "push",
        " ! [remote failure] HEAD -> main (remote failed to report status)",
        Kind.UNREACHABLE,
    ),
    "any server, push options": (
        "push",
        "fatal: the receiving end does not support push options\nfatal: the remote end hung up unexpectedly",
        Kind.OPTIONS,
    ),
    "any server, a signed push": (
        "push",
        "fatal: the receiving end does not support --signed push\nfatal: the remote end hung up unexpectedly",
        Kind.OPTIONS,
    ),
    "SSH, too many keys": (
        "fetch",
        f"Received disconnect from 192.0.2.1 port 22:2: Too many authentication failures{_SSH}",
        Kind.AUTH,
    ),
    "SSH, an unknown host": ("fetch", f"Host key verification failed.{_SSH}", Kind.AUTH),
    "SSH, no answer": ("fetch", f"ssh: connect to host github.com port 22: Connection timed out{_SSH}", Kind.UNREACHABLE),
    "a web page in place of a list of refs": (
        "fetch",
        "fatal: https://x/info/refs not valid: could not determine hash algorithm; is this a git repository?",
        Kind.PAGE,
    ),
    "a web page in place of an answer": (
        "fetch",
        "fatal: protocol error: bad line length character: <!DO\nfatal: the remote end hung up unexpectedly",
        Kind.PAGE,
    ),
    "a shell that greets": (
        "fetch",
        "fatal: protocol error: bad line length character: Welc\nfatal: the remote end hung up unexpectedly",
        Kind.UNREACHABLE,
    ),
    "a redirect to a page": (
        "fetch",
        "fatal: unable to update url base from redirection:\n  asked for: https://x/info/refs\n   redirect: https://login/",
        Kind.PAGE,
    ),
    "a redirect that a token may not follow": (
        "fetch",
        "fatal: unable to access 'https://dev.azure.com/acme/gitops/': The requested URL returned error: 302",
        Kind.PAGE,
    ),
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
