"""What tests wait with."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support import progress
from tests.support.progress import while_it_works

if TYPE_CHECKING:
    import pytest


def test_a_process_is_waited_for_as_long_as_it_works() -> None:
    program = "import time; end = time.process_time() + 1\nwhile time.process_time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", program], start_new_session=True) as process:
        for _ in while_it_works(process):
            pass
        assert process.poll() == 0


def test_one_that_does_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "_IDLE", 2.0)
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True) as process:
        for _ in while_it_works(process):
            pass
        assert process.poll() is None
        process.kill()
