"""A process that has imported promoter, and becomes it again and again by fork: a start costs no second of imports.

It stands in a mount namespace with a small disk of its own, which can be filled. Asked and answered in lines of JSON.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import pkgutil
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

_NAMED = (
    "cli",
    "commands",
    "promotion",
    "gitops",
    "argocd",
    "hosting",
    "image",
    "model_registry",
    "notify",
    "kustomize",
    "verdict",
)
_SUBREAPER = 36  # prctl(2), PR_SET_CHILD_SUBREAPER
_ORPHANS = 10.0  # seconds that what a killed promoter started may take to end


class Zygote:
    """`disk` is a folder that only the zygote and its children see."""

    def __init__(self, folder: Path, preload: Path | None, clock: Path) -> None:
        self.disk = folder / "disk"
        self.disk.mkdir(parents=True, exist_ok=True)
        inside = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
        mount = f'mount -t tmpfs -o size=48m none "{self.disk}" && exec "$@"'
        environ = dict(os.environ)
        if preload:
            environ |= {"LD_PRELOAD": str(preload), "FAULT_CLOCK": str(clock)}
        command = [*inside, "sh", "-c", mount, "sh", sys.executable, "-m", "tests.faults.zygote"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environ)

    def __enter__(self) -> Zygote:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, **request: Any) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def main() -> None:
    _import()
    ctypes.CDLL(None).prctl(_SUBREAPER, 1, 0, 0, 0)
    answers = os.fdopen(os.dup(1), "w")
    for line in sys.stdin:
        answers.write(json.dumps(_serve(json.loads(line))) + "\n")
        answers.flush()


def _import() -> None:
    for name in _NAMED:
        package = importlib.import_module(f"promoter.{name}")
        for one in pkgutil.walk_packages(package.__path__, f"promoter.{name}."):
            if not one.name.endswith((".azure", ".__main__")):
                importlib.import_module(one.name)
    importlib.import_module("tests.faults.gaps")


def _serve(request: dict[str, Any]) -> Any:
    match request["do"]:
        case "run":
            return _run(request)
        case "list":
            root = Path(request["root"])
            return [str(path.relative_to(root)) for path in sorted(root.rglob("*"))]
        case "age":  # what was left is from two hours ago
            for path in Path(request["root"]).glob("*"):
                os.utime(path, (time.time() - 7200,) * 2)
            return None
        case "free":
            Path(request["file"]).unlink(missing_ok=True)
            return None
        case "clear":
            shutil.rmtree(request["root"], ignore_errors=True)
            return None
    raise ValueError(request["do"])


def _run(request: dict[str, Any]) -> dict[str, object]:
    child = os.fork()
    if child == 0:
        _become(request)
    deadline = time.monotonic() + request["seconds"]
    status = None
    while status is None:
        ended, found = os.waitpid(child, os.WNOHANG)
        status = found if ended else None
        if status is None and time.monotonic() > deadline:
            os.killpg(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            return {"code": "hung", "orphans": []}
        time.sleep(0.002)
    return {"code": os.waitstatus_to_exitcode(status), "orphans": _orphans()}


def _orphans() -> list[str]:
    """The processes that outlive promoter for longer than they may."""
    deadline = time.monotonic() + _ORPHANS
    while time.monotonic() < deadline:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return []
        if not ended:
            time.sleep(0.005)
    left = []
    for task in Path("/proc/self/task").glob("*/children"):
        for number in task.read_text().split():
            with suppress(OSError):
                left.append(Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                os.kill(int(number), signal.SIGKILL)
    return left


def _become(request: dict[str, Any]) -> None:
    """promoter, with these arguments, environment and files as its streams; it never returns."""
    code = 70
    try:
        os.setsid()
        for name in request["fresh"]:
            Path(name).mkdir(parents=True, exist_ok=True)
        for number, name in ((0, os.devnull), (1, request["out"]), (2, request["err"])):
            opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
            os.dup2(opened, number)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, closefd=False) for number, mode in ((0, "r"), (1, "w"), (2, "w"))
        )
        os.environ.clear()
        os.environ.update(request["environ"])
        sys.argv = ["promoter", *request["arguments"]]
        from promoter.cli import main as promoter
        from tests.faults.gaps import Gaps

        Gaps(request["log"], request["at"], request["fault"], request["given"]).install()
        promoter()
    except SystemExit as end:
        code = int(end.code) if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        import threading

        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
