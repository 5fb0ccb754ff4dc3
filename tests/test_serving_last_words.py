"""A model process that ends reports why: in the log, in /ready, and in the container's termination message, however it ends."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from promoter.serving import last_words
from promoter.serving.last_words import LastWords
from tests.support.full import few
from tests.support.serving import serving

pytest.importorskip("mlflow.pyfunc", reason="the full mlflow is not installed")

LOADER = """
import asyncio, ctypes, os, signal, sys

WAYS = {
    "raises": lambda: {"a": 1}["feature_table"],
    "lacks": lambda: ctypes.CDLL("libmissing.so.1"),
    "leaves": lambda: sys.exit("no licence"),
    "cancels": lambda: (_ for _ in ()).throw(asyncio.CancelledError()),
    "interrupts": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "exits": lambda: os._exit(3),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crashes": lambda: ctypes.string_at(0),
    "aborts": os.abort,
    "breaks": lambda: sys.modules["__main__"].__dict__.update(_send=None),
}

class Model:
    def predict(self, data, params=None):
        WAYS[os.environ["LATER"]]()

def _load_pyfunc(path):
    if "AT_ONCE" in os.environ:
        WAYS[os.environ["AT_ONCE"]]()
    return Model()
"""


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dying")
    (folder / "code").mkdir()
    (folder / "code" / "dying.py").write_text(LOADER)
    (folder / "MLmodel").write_text("flavors:\n  python_function:\n    loader_module: dying\n    code: code\n")
    return folder


@pytest.mark.parametrize("calls", ["1", "4"])
def test_a_process_that_can_not_answer_ends_however_many_calls_it_takes(tmp_path: Path, dying: Path, calls: str) -> None:
    with serving(tmp_path, dying, LATER="breaks", CONCURRENCY=calls, INFERENCE_TIMEOUT="300") as server:
        server.wait_until_ready()
        answer = server.predict({"inputs": [1.0]})
        assert (answer.status_code, "process has ended" in answer.text) == (500, True)


@pytest.mark.parametrize(
    ("way", "words"),
    few(
        [
            ("raises", r"the model at \S+ can't be loaded: KeyError: 'feature_table' \(at \S+dying.py:5 <lambda>\)"),
            ("lacks", r"can't be loaded: OSError: libmissing.so.1: cannot open shared object file.* \(at "),
            ("leaves", r"can't be loaded: SystemExit: no licence \(at \S+dying.py:7 <lambda>\)"),
            ("cancels", r"can't be loaded: CancelledError \(at \S+dying.py:8 <genexpr>\)"),
            ("interrupts", r"can't be loaded: KeyboardInterrupt \(at \S+dying.py:9 <genexpr>\)"),
            ("exits", r"the model's process ended itself with exit code 3"),
            ("killed", r"the model's process was ended by SIGKILL"),
            ("crashes", r"was ended by SIGSEGV: a native library of the model crashed at File .*string_at.*dying.py"),
            ("aborts", r"was ended by SIGABRT: a native library of the model gave up at File .*dying.py"),
        ],
        "raises",
        "exits",
        "crashes",
    ),
)
def test_a_model_that_ends_its_process_before_it_is_ready(tmp_path: Path, dying: Path, way: str, words: str) -> None:
    with serving(tmp_path, dying, AT_ONCE=way) as server:
        assert server.process.wait(300) == 1
        said = [line["message"] for line in server.log if line["level"] == "ERROR"]
    assert len(said) == 1, said
    assert re.search(words, said[0]), said


def test_what_ended_a_process_that_served_is_shown_until_another_takes_its_place(tmp_path: Path, dying: Path) -> None:
    with serving(tmp_path, dying, LATER="crashes") as server:
        server.wait_until_ready()
        assert server.predict({"inputs": [1.0]}).status_code == 500
        answer = server.get("/ready").json()
        assert answer["ready"] is False
        assert answer["reason"].startswith("the model's process was ended by SIGSEGV")
        server.wait_until_ready()
        assert server.get("/ready").json() == {"ready": True}


@pytest.mark.parametrize(
    ("way", "status"), few([("raises", 422), ("leaves", 500), ("cancels", 500), ("interrupts", 500)], "raises", "leaves")
)
def test_no_exception_of_a_models_code_ends_its_process(tmp_path: Path, dying: Path, way: str, status: int) -> None:
    """The model has no signature: a KeyError may be its input's fault."""
    with serving(tmp_path, dying, LATER=way) as server:
        server.wait_until_ready()
        for _ in range(2):
            assert server.predict({"inputs": [1.0]}).status_code == status
        assert not [line for line in server.log if "has ended" in line["message"]]


def test_the_kernel_is_named_where_it_counted_one_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(last_words, "_MEMORY", tmp_path)
    (tmp_path / "memory.events").write_text("low 0\noom 4\noom_kill 1\n")
    (tmp_path / "memory.max").write_text(f"{512 << 20}\n")
    words = LastWords(tmp_path)
    assert words.of(1, -9) == "the model's process was ended by SIGKILL"
    (tmp_path / "memory.events").write_text("low 0\noom 5\noom_kill 2\n")
    assert words.of(1, -9) == "the kernel killed the model's process: out of memory (limit 512 MiB)"
