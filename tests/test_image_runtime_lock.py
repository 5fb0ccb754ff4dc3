"""Requirements resolved by uv and fetched by pip from an index that wants a token, which is nowhere in what comes of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from promoter.errors import AuthError, PromoterError, RefusedError, UnreachableError, UsageError
from promoter.image.base import Platform
from promoter.image.layout import LayoutRepository
from promoter.image.runtime.lock import ensure_lock, lock_tag, resolve
from promoter.image.runtime.requirements import Requirements
from promoter.image.runtime.wheels import download_wheels
from tests.support.package_index import TOKEN, PackageIndex, serving_wheels, write_wheel

AMD64 = Platform("linux", "amd64")
WANTED = Requirements("3.11", ("nut>=1", "shell"))


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PackageIndex]:
    folder = tmp_path_factory.mktemp("index")
    for version in ("1.0", "1.1", "2.0"):
        write_wheel(folder, "nut", version, requires=["kernel<3"])
    write_wheel(folder, "kernel", "2.0", tag="cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64")
    write_wheel(folder, "kernel", "2.0", tag="cp312-abi3-manylinux_2_28_aarch64")
    write_wheel(folder, "shell", "1.0")
    write_wheel(folder, "apple", "1.0", tag="cp311-cp311-macosx_14_0_arm64")
    with serving_wheels(folder) as served:
        yield served


@pytest.fixture
def env(index: PackageIndex, tmp_path: Path) -> dict[str, str]:
    """pip's configuration alone knows the index, in a file as people have it."""
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {index.url}\n")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_"))}
    return kept | {"PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "UV_CACHE_DIR": str(tmp_path / "uv"), "PIP_NO_CACHE_DIR": "1"}


def test_lock_has_hashes_and_no_index(index: PackageIndex, env: dict[str, str]) -> None:
    lock = resolve(WANTED, AMD64, "", env)
    assert [line.split()[0] for line in lock.splitlines() if "==" in line] == ["kernel==2.0", "nut==2.0", "shell==1.0"]
    assert lock.count("--hash=sha256:") >= 3
    assert not any(word in lock for word in ("://", TOKEN, str(index.port)))
    assert "/simple/nut/" in index.asked  # with the token: without it the index answers nothing


def test_constraints_of_the_model_and_of_promoter_yaml_bind(env: dict[str, str]) -> None:
    lock = resolve(replace(WANTED, constraints=("nut<2",)), AMD64, "nut!=1.1\n", env)
    assert "nut==1.0 " in lock


def test_uv_settings_come_before_those_of_pip(index: PackageIndex, env: dict[str, str]) -> None:
    with pytest.raises(AuthError, match=r"can.t resolve the model.s requirements for Python 3\.11 on linux/amd64") as refused:
        resolve(WANTED, AMD64, "", env | {"UV_DEFAULT_INDEX": index.url_without_token})
    assert "pip config list" in refused.value.hint


@pytest.mark.parametrize(
    ("requirements", "platform", "kind", "told"),
    [
        (replace(WANTED, lines=("nut==9",)), AMD64, RefusedError, "there is no version of nut==9"),
        (replace(WANTED, lines=("nut", "kernel>=3")), AMD64, RefusedError, "kernel>=3"),
        (replace(WANTED, lines=("apple",)), AMD64, RefusedError, "apple"),
        (replace(WANTED, python="3.10", lines=("kernel",)), AMD64, RefusedError, "kernel"),
        (WANTED, Platform("linux", "riscv64"), UsageError, "can't build a runtime for linux/riscv64"),
    ],
)
def test_requirements_that_cannot_be_met(
    requirements: Requirements, platform: Platform, kind: type[PromoterError], told: str, env: dict[str, str]
) -> None:
    with pytest.raises(kind) as refused:
        resolve(requirements, platform, "", env)
    assert told in refused.value.message
    assert refused.value.hint
    assert TOKEN not in refused.value.message


def test_index_that_does_not_answer(env: dict[str, str]) -> None:
    gone = {"UV_DEFAULT_INDEX": "http://ci:secret@127.0.0.1:9/simple", "UV_HTTP_RETRIES": "0"}
    with pytest.raises(UnreachableError) as refused:
        resolve(WANTED, AMD64, "", env | gone)
    assert "secret" not in refused.value.message


def test_lock_is_kept_in_the_repository_and_not_resolved_again(tmp_path: Path, env: dict[str, str]) -> None:
    target, said = LayoutRepository(tmp_path / "images", "models/x"), list[str]()
    first = ensure_lock(target, WANTED, AMD64, "", env, said.append)
    assert said == ["resolving 2 requirements for Python 3.11 on linux/amd64"]
    nowhere = env | {"UV_DEFAULT_INDEX": "http://127.0.0.1:9/simple"}
    assert ensure_lock(target, WANTED, AMD64, "", nowhere, said.append) == first
    assert len(said) == 1


def test_lock_tag_shows_what_decides() -> None:
    tags = {
        lock_tag(WANTED, AMD64, ""),
        lock_tag(replace(WANTED, lines=("nut>=1",)), AMD64, ""),
        lock_tag(replace(WANTED, python="3.12"), AMD64, ""),
        lock_tag(replace(WANTED, constraints=("nut<2",)), AMD64, ""),
        lock_tag(WANTED, Platform("linux", "arm64"), ""),
        lock_tag(WANTED, AMD64, "nut<2"),
    }
    assert len(tags) == 6
    assert all(len(tag) == len("lock-") + 16 for tag in tags)


def test_something_else_under_the_tag_is_no_lock(tmp_path: Path, env: dict[str, str]) -> None:
    target = LayoutRepository(tmp_path / "images", "models/x")
    target.create_manifest(lock_tag(WANTED, AMD64, ""), b'{"layers": []}')
    with pytest.raises(RefusedError, match="is not a lock of promoter's"):
        ensure_lock(target, WANTED, AMD64, "", env, lambda _: None)


def test_wheels_of_the_lock_are_fetched_for_the_platform(tmp_path: Path, env: dict[str, str]) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text(resolve(WANTED, AMD64, "", env))
    download_wheels(lock, "3.11", AMD64, tmp_path / "wheels", env)
    names = sorted(path.name for path in (tmp_path / "wheels").iterdir())
    assert names == [
        "kernel-2.0-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "nut-2.0-py3-none-any.whl",
        "shell-1.0-py3-none-any.whl",
    ]


@pytest.mark.parametrize(
    ("lock", "python", "told"),
    [
        ("shell==1.0 --hash=sha256:" + "0" * 64, "3.11", "shell==1.0 from http"),
        ("kernel==2.0 --hash=sha256:" + "0" * 64, "3.10", "the index shows no wheel of kernel==2.0, which is in the lock"),
    ],
)
def test_wheels_that_the_index_does_not_have(lock: str, python: str, told: str, tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "requirements.lock").write_text(lock)
    with pytest.raises(RefusedError) as refused:
        download_wheels(tmp_path / "requirements.lock", python, AMD64, tmp_path / "wheels", env)
    assert told in refused.value.message
    assert TOKEN not in refused.value.message + refused.value.hint


def test_index_that_does_not_answer_is_reported_when_wheels_are_fetched(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "requirements.lock").write_text("shell==1.0 --hash=sha256:" + "0" * 64)
    gone = {"PIP_INDEX_URL": "http://ci:secret@127.0.0.1:9/simple", "PIP_RETRIES": "1"}
    with pytest.raises(UnreachableError, match=r"shell==1\.0") as refused:
        download_wheels(tmp_path / "requirements.lock", "3.11", AMD64, tmp_path / "wheels", env | gone)
    assert "secret" not in refused.value.message
