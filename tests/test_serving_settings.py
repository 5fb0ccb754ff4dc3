"""Settings of the inference server."""

from __future__ import annotations

import pytest

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
        ("CONCURRENCY", "257", "a whole number from 0 to 256"),
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


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(SettingsError, match=r"PORT is 'x'.*; MAX_QUEUE is '0'"):
        Settings.from_environment({"PORT": "x", "MAX_QUEUE": "0"})
