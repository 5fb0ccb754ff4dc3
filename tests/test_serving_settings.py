"""Settings of the inference server, and the content digest it holds its model against."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO

import pytest

from promoter.image.layer import content_digest as packed_digest
from promoter.models import ModelFile
from promoter.serving.content import content_digest
from promoter.serving.errors import SettingsError
from promoter.serving.settings import Settings


def test_everything_has_a_default_and_an_empty_variable_is_not_set() -> None:
    assert Settings.from_environment({}) == Settings() == Settings.from_environment({"PORT": "", "MODEL_URI": " ", "BATCH": ""})


def test_the_variables() -> None:
    environ = {
        "MODEL_NAME": "fraud-detector",
        "MODEL_VERSION": "42",
        "MODEL_STAGE": "Production",
        "MODEL_DIGEST": "sha256:" + "a" * 64,
        "MODEL_PATH": "/models/m",
        "MODEL_URI": "models:/fraud-detector/42",
        "MLFLOW_TRACKING_URI": "http://mlflow-tracking:5000",
        "LOG_LEVEL": "warning",
        "HOST": "::1",
        "PORT": "9000",
        "WORKERS": "4",
        "INFERENCE_TIMEOUT": "0.5",
        "MAX_BATCH_SIZE": "64",
        "BATCH": "row-wise",
        "MAX_BODY_BYTES": "1000",
        "MAX_QUEUE": "10",
        "DRAIN_SECONDS": "0",
    }
    assert Settings.from_environment(environ) == Settings(
        model_name="fraud-detector",
        model_version="42",
        model_stage="Production",
        model_digest="sha256:" + "a" * 64,
        model_path="/models/m",
        model_uri="models:/fraud-detector/42",
        host="::1",
        port=9000,
        workers=4,
        log_level="WARNING",
        batch="row-wise",
        max_batch_size=64,
        max_body_bytes=1000,
        max_queue=10,
        inference_timeout=0.5,
        drain_seconds=0.0,
    )


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("PORT", "http", "a whole number from 1 to 65535"),
        ("PORT", "65536", "a whole number from 1 to 65535"),
        ("WORKERS", "0", "a whole number from 1 to 64"),
        ("WORKERS", "1.5", "a whole number from 1 to 64"),
        ("INFERENCE_TIMEOUT", "nan", "a number from 0.001 to 3600"),
        ("INFERENCE_TIMEOUT", "0", "a number from 0.001 to 3600"),
        ("MAX_BATCH_SIZE", "-1", "a whole number from 1 to 1000000"),
        ("MODEL_DIGEST", "sha256:abc", "sha256: and 64 hexadecimal digits"),
        ("MODEL_VERSION", "4\u00b2", "printable ASCII"),
        ("LOG_LEVEL", "loud", "one of DEBUG, INFO, WARNING, ERROR, CRITICAL"),
        ("BATCH", "on", "one of off, row-wise"),
    ],
)
def test_what_can_not_be_used_is_named_with_what_was_expected(name: str, value: str, expected: str) -> None:
    with pytest.raises(SettingsError, match=rf"{name} is '.*', expected {expected}$"):
        Settings.from_environment({name: value})


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(SettingsError, match=r"PORT is 'x'.*; MAX_QUEUE is '0'"):
        Settings.from_environment({"PORT": "x", "MAX_QUEUE": "0"})


def test_the_content_digest_is_that_of_the_packed_image(tmp_path: Path) -> None:
    contents = {"MLmodel": b"flavors: {}\n", "b/model.skops": bytes(range(256)) * 9000, "b-c": b"", "ä/ö": b"x", "Z": b"z"}
    for path, content in contents.items():
        tmp_path.joinpath(path).parent.mkdir(exist_ok=True)
        tmp_path.joinpath(path).write_bytes(content)

    def opened(file: ModelFile) -> AbstractContextManager[IO[bytes]]:
        return (tmp_path / file.path).open("rb")

    packed = packed_digest([ModelFile(path, len(content)) for path, content in contents.items()], opened)
    assert content_digest(tmp_path) == packed
    (tmp_path / "registered_model_meta").write_text("model_name: m\n")  # what MLflow's download adds
    assert content_digest(tmp_path) == packed
    (tmp_path / "Z").write_bytes(b"y")
    assert content_digest(tmp_path) != packed
