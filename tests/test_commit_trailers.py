"""Trailers as promoter reads them: where git finds them, and where a forge that squashed has put them."""

from __future__ import annotations

import pytest

from promoter.gitops import Proposal, trailers_of

OURS = "Promotion-Id: abc\nModel: m\nEnvironment: production"
READ = {"Promotion-Id": "abc", "Model": "m", "Environment": "production"}


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (f"image: a -> b\naccuracy: 0.9\n\n{OURS}", READ),
        (f"body\n\n{OURS}\n\nCo-authored-by: A <a@example.com>\nSigned-off-by: B <b@example.com>", READ),
        (f"* Promote m\n\nimage: a -> b\n\n{OURS}\n\n* Fix a typo\n\n---------\n\nCo-authored-by: A <a@example.com>", READ),
        (f"What changes\r\n\r\n---\r\n\r\n{OURS}\r\n".replace("\n", "\r\n").replace("\r\r", "\r"), READ),
        ("image: a -> b\nModel: 0.9", {}),
        ("Nothing of ours\n\nsee https://example.com", {}),
        ("", {}),
    ],
)
def test_read_wherever_they_stand(text: str, read: dict[str, str]) -> None:
    assert trailers_of(text) == read


def test_a_proposal_knows_how_its_own_are_read() -> None:
    proposal = Proposal({}, "Promote", "body", (("Model", "a\nb"), ("Quarantined", "a:1"), ("Quarantined", "b:2")))
    assert proposal.read_back == {"Model": "a b", "Quarantined": "a:1\nb:2"}
    assert trailers_of(proposal.message().decode()) == proposal.read_back
