"""A signed index (InRelease), checked by gpgv against the base's own keys: nothing that is not signed is read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promoter.errors import RefusedError, UnreachableError, UsageError
from promoter.image.runtime.debian.sources import Keys
from promoter.machine import process

_BEGIN, _SIGNATURE, _END = (
    b"-----BEGIN PGP SIGNED MESSAGE-----",
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----END PGP SIGNATURE-----",
)
_SECONDS = 60.0
_WEAK = {"1", "2", "3"}  # MD5, SHA-1 and RIPEMD-160, which apt does not take either (RFC 9580, 9.5)


def signed_text(release: bytes, keys: Keys, where: str, folder: Path, env: Mapping[str, str]) -> str:
    """The text that one of the keys signed; `where` is its address, and the empty `folder` is for gpgv.

    Raises:
        RefusedError: it is not signed by any of them, or something stands outside of what is signed.
        UsageError: gpgv is missing.
    """
    if [release.count(mark) for mark in (_BEGIN, _SIGNATURE, _END)] != [1, 1, 1] or not _is_all(release):
        raise RefusedError(f"{where} is not one signed message", hint="check image.packages-mirror, or a proxy on the way")
    (folder / "InRelease").write_bytes(release)
    rings = [folder / f"{number}.gpg" for number, _ in enumerate(keys.keyrings)]
    for ring, content in zip(rings, keys.keyrings, strict=True):
        ring.write_bytes(content)
    options = ["--homedir", str(folder), "--status-fd", "1", "--ignore-time-conflict", "--output", str(folder / "text")]
    named = [option for ring in rings for option in ("--keyring", str(ring))]
    lines = [
        line.split()[1:] for line in _gpgv([*options, *named, str(folder / "InRelease")], env) if line.startswith("[GNUPG:] ")
    ]
    if why := _flaw(lines, keys.fingerprints):
        raise RefusedError(f"{where} is not signed by a key that the base trusts: {why}", hint=_UNTRUSTED)
    return (folder / "text").read_text(errors="replace")


_UNTRUSTED = "take a newer image.base, whose keys are newer too, or check image.packages-mirror"


def _is_all(release: bytes) -> bool:
    return release.startswith(_BEGIN) and release.rstrip().endswith(_END)


def _gpgv(arguments: list[str], env: Mapping[str, str]) -> list[str]:
    try:
        done = process.run(["gpgv", *arguments], environ=process.needed(env, ()), seconds=_SECONDS)
    except process.HungError:
        raise UnreachableError(f"gpgv did not end in {_SECONDS:.0f} s", hint="run again") from None
    except OSError as error:
        raise UsageError(
            f"gpgv, which checks the signatures of package indexes, can't be run: {error.strerror}",
            hint="install it (Debian: gpgv; Red Hat: gnupg2; Homebrew: gnupg), or set image.runtime-builder: engine",
        ) from None
    return done.output.splitlines()


def _flaw(lines: list[list[str]], fingerprints: frozenset[str]) -> str:
    """Why no signature counts; empty if one does. As apt has it: other keys may have signed too, but nothing may be wrong.

    https://github.com/gpg/gnupg/blob/master/doc/DETAILS, "Format of the --status-fd output"
    """
    if any(words[:1] == ["BADSIG"] for words in lines):
        return "its signature is not that of its content"
    good = ""
    for words in lines:
        if words[:1] and words[0] in ("GOODSIG", "EXPSIG", "EXPKEYSIG", "REVKEYSIG"):
            good = words[0]
        if words[:1] == ["VALIDSIG"] and good == "GOODSIG" and words[8:9] and words[8] not in _WEAK:
            if not fingerprints or {words[1], words[-1]} & fingerprints:
                return ""
            good = "another key"
    if good == "GOODSIG":
        return "its signature is made with a weak hash"
    missing = [words[1] for words in lines if words[:1] == ["NO_PUBKEY"] and words[1:]]
    expired = {"EXPSIG": "its signature has expired", "EXPKEYSIG": "the key has expired", "REVKEYSIG": "the key is revoked"}
    return expired.get(good) or (f"its key is {', '.join(missing)}" if missing else "no signature of it can be checked")
