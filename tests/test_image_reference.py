"""Image references as Docker reads them, and the tag of a model version."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promoter.errors import UsageError
from promoter.image.oci import is_digest
from promoter.image.reference import ImageReference, image_tag
from tests.support.models import model_version

DIGEST = "sha256:" + "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("python", ("docker.io", "library/python", None, None)),
        ("python:3.11-slim", ("docker.io", "library/python", "3.11-slim", None)),
        ("team/python", ("docker.io", "team/python", None, None)),
        ("docker.io/python", ("docker.io", "library/python", None, None)),
        ("index.docker.io/team/python:1", ("docker.io", "team/python", "1", None)),
        ("localhost/x", ("localhost", "x", None, None)),
        ("localhost:5000/x", ("localhost:5000", "x", None, None)),
        ("localhost:5000/x:v1", ("localhost:5000", "x", "v1", None)),
        ("x:5000", ("docker.io", "library/x", "5000", None)),
        ("[::1]:5000/x/y", ("[::1]:5000", "x/y", None, None)),
        ("Registry/x", ("Registry", "x", None, None)),
        ("registry.example.com/a/b/c", ("registry.example.com", "a/b/c", None, None)),
        (f"ghcr.io/team/fraud_detector@{DIGEST}", ("ghcr.io", "team/fraud_detector", None, DIGEST)),
        (f"ghcr.io/team/a__b--c.d:V_1@{DIGEST}", ("ghcr.io", "team/a__b--c.d", "V_1", DIGEST)),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(text: str, expected: tuple[str, str, str | None, str | None]) -> None:
    reference = ImageReference.parse(text)
    assert (reference.registry, reference.repository, reference.tag, reference.digest) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":v1",
        "x:",
        "x@",
        "UPPER",
        "ghcr.io/Team/x",
        "ghcr.io//x",
        "ghcr.io/x/",
        "/x",
        "ghcr.io/a..b",
        "ghcr.io/a___b",
        "-x",
        "https://ghcr.io/x",
        "ghcr.io:port/x",
        "-bad.example/x",
        "x:" + "t" * 129,
        "x:a/b",
        "x:a b",
        "x\n",
        "x:v1\n",
        "ghcr.io/" + "a" * 255,
        "x@sha256:abc",
        "x@md5:" + "0" * 32,
        f"x@{DIGEST.upper()}",
    ],
)
def test_what_is_no_reference_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(UsageError) as error:
        ImageReference.parse(text)
    assert error.value.hint


def test_a_password_before_the_host_is_not_repeated() -> None:
    with pytest.raises(UsageError) as error:
        ImageReference.parse("user:secret@ghcr.io/x")
    assert "secret" not in str(error.value) + error.value.hint


words = st.from_regex(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", fullmatch=True).filter(lambda word: len(word) < 40)


@settings(max_examples=40)
@given(
    st.sampled_from(["ghcr.io", "localhost:5000", "docker.io"]),
    st.lists(words, min_size=2, max_size=4),
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True),
    st.sampled_from([None, DIGEST]),
)
def test_writing_a_reference_and_reading_it_again_changes_nothing(
    registry: str, path: list[str], tag: str | None, digest: str | None
) -> None:
    reference = ImageReference(registry, "/".join(path), tag, digest)
    assert ImageReference.parse(str(reference)) == reference


def test_the_tag_of_a_version_is_its_number_and_its_birth_in_utc() -> None:
    version = model_version()
    assert image_tag(version) == "v7-20261122202015"
    elsewhere = version.created.astimezone(timezone(timedelta(hours=9)))
    assert image_tag(replace(version, created=elsewhere)) == "v7-20261122202015"


@given(st.text(max_size=140), st.datetimes(min_value=datetime(2000, 1, 1), max_value=datetime(2100, 1, 1)))
def test_whatever_the_version_is_the_tag_is_valid_or_refused(number: str, created: datetime) -> None:
    version = replace(model_version(version=number), created=created.replace(tzinfo=UTC))
    try:
        tag = image_tag(version)
    except UsageError:
        return
    assert ImageReference.parse(f"x:{tag}").tag == tag


def test_only_sha256_is_a_digest() -> None:
    assert is_digest(DIGEST)
    assert not is_digest("v1")
    assert not is_digest(DIGEST + "\n")
