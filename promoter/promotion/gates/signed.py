"""signed and attested: who vouches for the image, by what is next to it in its registry."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from promoter.models import Ruling
from promoter.promotion.gates.table import passed, refused

_SHOWN = 3


def signed(key: str, digest: str, flaws: Iterable[str]) -> Ruling:
    """`flaws` are what is wrong with each of its signatures, "" for one that counts; `digest` is "" without an image."""
    hint = "publish it with promoter image, sign it with cosign sign --key, and promote it then"
    if not digest:
        return refused("signed", "", "its image is not built yet, so nobody has signed it", hint)
    image = f"its image ({digest[:19]})"
    against = _against(flaws)
    if against is None:
        return passed("signed", "", f"{image} is signed with {key}")
    if not against:
        return refused("signed", "", f"{image} is signed by nobody", hint)
    return refused("signed", "", f"{image} is not signed with {key}: {against}", hint)


def attested(environment: str, digest: str, flaws: Iterable[str]) -> Ruling:
    """A true record that this very image was live there; `flaws` are what is wrong with each that claims it."""
    hint = f"promote it to {environment} first; its record is written once it is live there (docs/records.md)"
    if not digest:
        return refused("attested", environment, "its image is not built yet, so it has no record", hint)
    image = f"its image ({digest[:19]})"
    against = _against(flaws)
    if against is None:
        return passed("attested", environment, f"{image} has a true record that it was live there")
    if not against:
        return refused("attested", environment, f"{image} has no record that it was live there", hint)
    return refused("attested", environment, f"{image} has no true record that it was live there: {against}", hint)


def _against(flaws: Iterable[str]) -> str | None:
    """The first few of them; None if one has none. Those behind it are not read."""
    found = []
    for flaw in flaws:
        if not flaw:
            return None
        found.append(flaw)
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(dict.fromkeys(islice(found, _SHOWN))) + more
