"""The metadata of the package, as the build backend makes it that pip calls."""

from __future__ import annotations

import subprocess
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest
from hatchling.build import prepare_metadata_for_build_wheel

ROOT = Path(__file__).parent.parent


@pytest.fixture
def metadata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Message:
    monkeypatch.delenv("GITHUB_REPOSITORY", raising=False)
    for name, value in request.param.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    folder = prepare_metadata_for_build_wheel(str(tmp_path))
    return Parser().parsestr((tmp_path / folder / "METADATA").read_text())


@pytest.mark.parametrize(
    "metadata", [{"GITHUB_REPOSITORY": "team/promoter", "GITHUB_SERVER_URL": "https://git.example.com"}], indirect=True
)
def test_a_package_names_the_repository_that_built_it(metadata: Message) -> None:
    addresses = dict(entry.split(", ", 1) for entry in metadata.get_all("Project-URL", []))
    assert addresses["Source"] == "https://git.example.com/team/promoter"
    assert addresses["Changelog"] == "https://git.example.com/team/promoter/blob/main/CHANGELOG.md"
    for name in ("Changelog", "Security"):
        assert (ROOT / addresses[name].rpartition("/main/")[2]).exists()


@pytest.mark.parametrize("metadata", [{}], indirect=True)
def test_a_package_built_elsewhere_claims_no_address(metadata: Message) -> None:
    assert metadata["Name"] == "model-promoter"
    assert metadata.get_all("Project-URL") is None


def test_nothing_that_programs_leave_in_a_checkout_is_part_of_it() -> None:
    """A store of MLflow was, with a path of the machine that ran the tests."""
    listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--ignored", "--exclude-standard"]
    done = subprocess.run(listing, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("this is not a checkout")
    assert done.stdout == ""
