"""What a failing git means: a lost race, a rule of the server, credentials, a broken connection, or a broken cache."""

from __future__ import annotations

import re
from enum import Enum, auto

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.errors.redaction import redact
from promoter.machine import resources


class Kind(Enum):
    """Who has to do something about it."""

    FULL = auto()
    POLICY = auto()
    RACE = auto()
    MISSING_BRANCH = auto()
    HELPER = auto()
    OPTIONS = auto()
    SIGNING = auto()
    DUMB = auto()
    PAGE = auto()
    FILTER = auto()
    SHALLOW = auto()
    FORMAT = auto()
    CERTIFICATE = auto()
    AUTH = auto()
    UNREACHABLE = auto()
    NO_OBJECT = auto()
    CACHE = auto()


# The first row that matches decides. Sources: git's send-pack, receive-pack, connect and http-curl messages; GitHub's GH0xx,
# GitLab's GL-HOOK-ERR and Azure DevOps' TF4xxxxx codes.
_ROWS = (
    (Kind.HELPER, r"^fatal: the credential helper \S+ did not answer in \d+ s$"),
    (Kind.OPTIONS, r"^fatal: the receiving end does not support (push options|--signed push)"),
    (Kind.FULL, rf"^(?!remote:).*({resources.NO_SPACE})"),
    (Kind.RACE, r"TF401028|already been updated by another client"),
    (
        Kind.AUTH,
        r"TF401027|TF401019|TF400813|not allowed to push code to this project|user permission denied for writing|"
        r"does not have write access to this project|marked as read only|deployment key is read-only|"
        r"archived so it is read-only|repository access denied|too many authentication failures|conq: repository|"
        r"^(remote: )?((gitea|forgejo): )?unauthorized",
    ),
    (
        Kind.POLICY,
        r"GH006|GH013|GL-HOOK-ERR|TF402455|protected branch|hook declined|must have verified signatures|"
        r"not allowed to push|pushes to this branch are not permitted|(?<!bypassed )rule violations",
    ),
    (
        Kind.RACE,
        r"stale info|fetch first|non-fast-forward|failed to update ref|cannot lock ref|incorrect old value provided|"
        r"reference already exists",
    ),
    (
        Kind.UNREACHABLE,
        r"unpacker error|unpack failed|remote unpack|internal (server|api) error|git: internal error|"
        r"fatal error in commit_refs|remote failed to report status",
    ),
    (Kind.POLICY, r"\[remote rejected\]"),
    (Kind.MISSING_BRANCH, r"couldn't find remote ref"),
    (Kind.SIGNING, r"failed to sign|signing failed|user\.signingkey|load (public )?key|no private key|sign the data"),
    (Kind.NO_OBJECT, r"not our ref|unadvertised object|did not send"),
    (Kind.DUMB, r"dumb http"),
    (
        Kind.PAGE,
        r"info/refs not valid|bad line length character: \s*<|unable to update url base from redirection|"
        r"returned error: 30\d",
    ),
    (Kind.FILTER, r"filter '?[\w:=]+'? not supported|filtering .*not (allowed|supported)|unexpected line: .*filter"),
    (Kind.SHALLOW, r"does not support shallow|shallow .*not supported|does not support --depth"),
    (Kind.FORMAT, r"mismatched algorithms|this repository's object format"),
    (Kind.CERTIFICATE, r"SSL certificate|certificate verif|server verification failed"),
    (
        Kind.AUTH,
        r"authentication failed|could not read (username|password)|permission denied \(|returned error: 40[134]|"
        r"http basic: access denied|host key verification failed|permission to .* denied|repository .*not found|"
        r"enforced SAML SSO|could not be found or you don't have permission|"
        r"does not appear to be a git repository",
    ),
    (
        Kind.UNREACHABLE,
        r"could not resolve|connection (refused|reset|closed|timed out)|timed out|failed to connect|couldn't connect|"
        r"unable to connect|hung up|rpc failed|unexpected disconnect|early eof|returned error: (429|5\d\d)|empty reply|"
        r"operation too slow|network is unreachable|no route to host|could not read from remote repository|unable to access",
    ),
)
_ONLY = {Kind.RACE: "push", Kind.POLICY: "push", Kind.SIGNING: "commit-tree"}  # SSH speaks of keys, a broken cache of refs
_TABLE = tuple((kind, re.compile(pattern, re.IGNORECASE)) for kind, pattern in _ROWS)


class GitError(PromoterError):
    """git failed: `command` is its subcommand, `kind` the cause, `line` the decisive output line, without credentials."""

    def __init__(self, command: str, status: int, out: str, err: str) -> None:
        lines = [line.strip() for line in redact(f"{err}\n{out}").splitlines() if line.strip()]
        self.command = command
        self.kind, decisive = _classified(command, lines)
        self.line = decisive or (lines[-1] if lines else f"exit status {status}")
        self.remote = " ".join(line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:"))
        super().__init__(f"git {command}: {self.line}")


def _classified(command: str, lines: list[str]) -> tuple[Kind, str]:
    for kind, pattern in _TABLE:
        if _ONLY.get(kind, command) != command:
            continue
        for line in lines:
            if pattern.search(line):
                return kind, line
    decisive = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return Kind.CACHE, decisive[-1] if decisive else ""


# The error of each kind, its message and what to do next; of credentials there are two.
_MEANINGS: dict[Kind, tuple[type[PromoterError], str, str]] = {
    Kind.POLICY: (
        RefusedError,
        "{place} does not accept a direct push: {reason}",
        "set `write: pull-request` for this environment, or let this identity push to the branch",
    ),
    Kind.RACE: (UnreachableError, "{place}: other writers were faster each time: {reason}", "run it again"),
    Kind.AUTH: (
        AuthError,
        "{place} does not exist, or this identity may not read it: {reason}",
        "check the URL; set PROMOTER_GIT_TOKEN, or configure a git credential helper or an SSH key",
    ),
    Kind.HELPER: (
        AuthError,
        "{place}: {reason}",
        "it may be asking a person: log in with it before, or set PROMOTER_GIT_TOKEN",
    ),
    Kind.OPTIONS: (
        UsageError,
        "{place} does not take what git is configured to send: {reason}",
        "unset push.pushOption, or push.gpgSign, in the configuration of git for this remote",
    ),
    Kind.SIGNING: (
        UsageError,
        "the commit can't be signed: {reason}",
        "commit.gpgSign is set: check user.signingKey and gpg.format, or switch it off with `git config`",
    ),
    Kind.DUMB: (
        RefusedError,
        "{place} is served as plain files: {reason}",
        "serve it by smart HTTP (git http-backend or a forge) or by SSH",
    ),
    Kind.PAGE: (
        UnreachableError,
        "{place}: what answers is a web page or a redirect, not a Git server: {reason}",
        "a proxy or the login page of a network or forge may answer in its place, or the repository has moved: "
        "open the URL in a browser",
    ),
    Kind.CERTIFICATE: (UnreachableError, "{place} can't be trusted: {reason}", "name the CA bundle in git's http.sslCAInfo"),
    Kind.UNREACHABLE: (
        UnreachableError,
        "{place} can't be reached: {reason}{doubt}",
        "check the URL and the network, then run it again",
    ),
}
_MAY_NOT_WRITE = (
    AuthError,
    "{place} does not let this identity push: {reason}",
    "give the token, App or deploy key the right to write to this repository, or use another one",
)
_OTHER = (PromoterError, "{place}: git {command} failed: {reason}", "run git with GIT_TRACE=1 to see more")


def explained(error: GitError, url: str, branch: str) -> PromoterError:
    """The error a person meets in the end, with git's own words and what to do next."""
    reason = error.line if error.line in error.remote or not error.remote else f"{error.line} ({error.remote})"
    doubt = "; it is unknown whether the push arrived" if error.command == "push" else ""
    writes = error.kind is Kind.AUTH and error.command == "push"
    kind, message, hint = _MAY_NOT_WRITE if writes else _MEANINGS.get(error.kind, _OTHER)
    place = f"{url} (branch {branch})"
    return kind(message.format(place=place, reason=reason, doubt=doubt, command=error.command), hint=hint)
