"""Requirements resolved once, with hashes, and kept in the image repository, so that every machine builds from one lock."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promoter.errors import RefusedError, UsageError
from promoter.image.oci import MANIFEST, Descriptor, Repository, canonical, decode, objects, read_bytes, sha256
from promoter.image.runtime.tools import tool_failure, uv, uv_platform
from promoter.machine.folders import temporary

if TYPE_CHECKING:
    from promoter.image.base import Platform
    from promoter.image.runtime.requirements import Requirements

# https://github.com/opencontainers/image-spec/blob/main/manifest.md#guidelines-for-artifact-usage
_EMPTY = "application/vnd.oci.empty.v1+json"
_ARTIFACT = "application/vnd.model-promoter.requirements-lock"
_TEXT = "text/plain"


def lock_tag(requirements: Requirements, platform: Platform, constraints: str) -> str:
    """`lock-<16 hex>`: the same wherever the same is asked for."""
    asked: dict[str, object] = {
        "lines": requirements.lines,
        "constraints": [*requirements.constraints, constraints],
        "python": requirements.python,
        "platform": str(platform),
    }
    if requirements.prereleases:
        asked["prereleases"] = True
    return f"lock-{sha256(canonical(asked)).removeprefix('sha256:')[:16]}"


def ensure_lock(
    target: Repository,
    requirements: Requirements,
    platform: Platform,
    constraints: str,
    env: Mapping[str, str],
    say: Callable[[str], None],
) -> str:
    """The lock of these requirements, in pip's format and with hashes: the repository's, or one resolved and kept there now.

    `constraints` is the text of image.constraints.

    Raises:
        RefusedError: the requirements can't be met, or the artifact is damaged.
        AuthError, UnreachableError: as the registry or the package index answers.
        UsageError: no wheels are made for the platform.
    """
    found = find_lock(target, requirements, platform, constraints)
    if found is not None:
        return found
    say(f"resolving {len(requirements.lines)} requirements for Python {requirements.python} on {platform}")
    tag = lock_tag(requirements, platform, constraints)
    lock = resolve(requirements, platform, constraints, env).encode()
    return _read(target, tag, keep_lock(target, tag, _ARTIFACT, "requirements.lock", lock))


def find_lock(target: Repository, requirements: Requirements, platform: Platform, constraints: str) -> str | None:
    """The lock of these requirements, if the repository has one.

    Raises:
        RefusedError: the artifact is damaged.
        AuthError, UnreachableError: as the registry answers.
    """
    tag = lock_tag(requirements, platform, constraints)
    manifest = target.read_manifest(tag)
    return None if manifest is None else _read(target, tag, manifest)


def _read(target: Repository, tag: str, manifest: bytes) -> str:
    return read_lock(target, tag, _ARTIFACT, manifest)[0].decode()


def read_lock(
    target: Repository, tag: str, kind: str, manifest: bytes, *, others: int = 0
) -> tuple[bytes, tuple[Descriptor, ...]]:
    """The text of a lock of this kind, and the `others` that it is kept with.

    Raises:
        RefusedError: the manifest is another one's.
        AuthError, UnreachableError: as the registry answers.
    """
    where = f"{target.name}:{tag}"
    layers = objects(decode(manifest, where), "layers", where)
    if len(layers) != 1 + others or decode(manifest, where).get("artifactType") != kind:
        raise RefusedError(f"{where} is not a lock of promoter's", hint="somebody pushed that tag: delete it")
    text, *more = (Descriptor.parse(layer, where) for layer in layers)
    return read_bytes(target, text), tuple(more)


def keep_lock(target: Repository, tag: str, kind: str, title: str, lock: bytes, *others: Descriptor) -> bytes:
    """The manifest that the tag names now: somebody else may have been first, and then theirs is the lock.

    `others` are blobs that the repository has, and that are kept with the lock. Raises as the registry answers.
    """
    blobs = [_stored(target, b"{}", _EMPTY), _stored(target, lock, _TEXT)]
    titled = {"annotations": {"org.opencontainers.image.title": title}}
    manifest: dict[str, Any] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": kind,
        "config": blobs[0],
        "layers": [blobs[1] | titled, *(other.as_json() for other in others)],
    }
    return target.create_manifest(tag, canonical(manifest))


def _stored(target: Repository, data: bytes, media_type: str) -> dict[str, Any]:
    if not target.has_blob(sha256(data)):
        target.write_blob([data], len(data))
    return Descriptor(media_type, sha256(data), len(data)).as_json()


def resolve(requirements: Requirements, platform: Platform, constraints: str, env: Mapping[str, str]) -> str:
    """The lock, made by uv from the index that this host uses.

    Raises:
        RefusedError: the requirements can't be met with wheels.
        AuthError, UnreachableError: as the index answers.
        UsageError: no wheels are made for the platform.
    """
    with temporary("lock") as folder:
        limits = folder / "constraints.txt"
        limits.write_text("\n".join([*requirements.constraints, constraints]) + "\n")
        options = ["--python-version", requirements.python, "--python-platform", uv_platform(platform)]
        options += ["--only-binary", ":all:", "--generate-hashes", "--constraints", str(limits)]
        # Neither the command nor the index is written into it.
        options += ["--no-header", "--no-annotate", "--no-emit-index-url", "--no-emit-find-links", "--quiet"]
        options += ["--prerelease", "allow"] if requirements.prereleases else []
        # Nothing is installed: the Python at hand will do, and none is to be looked for or downloaded.
        options += ["--python", sys.executable, "--no-python-downloads", "-"]
        done = uv(["pip", "compile", *options], "\n".join(requirements.lines) + "\n", env)
    if done.status != 0:
        doing = f"resolve the model's requirements for Python {requirements.python} on {platform}"
        hint = "log the model with requirements that go together, or bring them together with image.constraints"
        raise tool_failure(done, doing, _words(done.errors), hint)
    if "://" in done.output:
        raise RefusedError("the resolved requirements hold a URL", hint="take the URL out of image.constraints")
    return done.output


def _words(text: str) -> str:
    """What uv drew, without the frame."""
    return text.translate(str.maketrans("×╰─▶│├", "      ")).strip().removeprefix("error: ")


def read_constraints(file: Path | None) -> str:
    """The text of image.constraints, or nothing.

    Raises:
        UsageError: it can't be read.
    """
    try:
        return file.read_text() if file else ""
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise UsageError(
            f"image.constraints {file} can't be read: {reason}", hint="correct the path in promoter.yaml"
        ) from None
