"""The locked wheels, fetched to this host: an index and its credentials belong here, never in a build."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from promoter.image.runtime.tools import pip, pip_platforms, tool_failure

if TYPE_CHECKING:
    from promoter.image.base import Platform

_FROM = re.compile(r" \(from -r [^)]*\)\)")
_OPTIONS = ("--require-hashes", "--only-binary", ":all:", "--no-deps", "--no-input", "--progress-bar", "off", "--quiet")


def download_wheels(
    lock: Path,
    python: str,
    platform: Platform,
    folder: Path,
    env: Mapping[str, str],
    musl: tuple[int, int] | None = None,
) -> None:
    """Every wheel of the lock into `folder`, for CPython `python` (3.11) on `platform`, checked against its hashes.

    `musl` is the version of that C library where it takes glibc's place.

    Raises:
        RefusedError: the index does not have a wheel, or has another file.
        AuthError, UnreachableError: as the index answers, or the disk is full.
        UsageError: no wheels exist for the platform.
    """
    folder.mkdir(parents=True)
    target = ["--python-version", python, "--implementation", "cp"]
    for abi in (f"cp{python.replace('.', '')}", "abi3", "none"):
        target += ["--abi", abi]
    for tag in pip_platforms(platform, musl):
        target += ["--platform", tag]
    options = [*_OPTIONS, "--disable-pip-version-check", *target, "--dest", str(folder), "--requirement", str(lock)]
    done = pip(["download", *options], env)
    if done.status == 0:
        return
    reason = done.errors[max(done.errors.find("ERROR: "), 0) :]
    if missing := re.search(r"No matching distribution found for (\S+)", reason):
        reason = f"the index shows no wheel of {missing[1]}, which is in the lock: it was removed, or our login may not read it"
    doing = f"fetch the wheels for Python {python} on {platform}"
    hint = "check what the index of `pip config list` has, and our credentials for it"
    if missing and musl:
        doing += f" with musl {musl[0]}.{musl[1]}"
        reason = f"the index shows no such wheel of {missing[1]}, which is in the lock"
        hint = "name an image.base with glibc, or with image.constraints a version that has one"
    raise tool_failure(done, doing, _FROM.sub("", reason.removeprefix("ERROR: ")), hint)
