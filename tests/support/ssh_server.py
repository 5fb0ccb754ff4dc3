"""A real sshd on loopback with throw-away keys, for the user who runs the tests."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CONFIG = """
ListenAddress 127.0.0.1
Port {port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
{more}
"""


@dataclass(frozen=True)
class SshServer:
    """`command` is the ssh command that knows the server's key and has the user's."""

    netloc: str
    command: str
    folder: Path

    def url(self, repository: Path) -> str:
        return f"ssh://{self.netloc}{repository}"


@contextmanager
def ssh_server(folder: Path, more: str = "AcceptEnv GIT_PROTOCOL") -> Iterator[SshServer]:
    """`more` are lines of sshd_config(5); without AcceptEnv a client can't ask for Git's protocol version 2."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/sbin:" + os.environ["PATH"])
    if sshd is None:
        pytest.skip("sshd is not installed")
    folder.mkdir(parents=True)
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)  # its privilege separation wants it
    port = _free_port()
    (folder / "config").write_text(_CONFIG.format(port=port, folder=folder, more=more))
    (folder / "known").write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
    options = f"-F none -i {folder}/user -o IdentitiesOnly=yes -o UserKnownHostsFile={folder}/known -o BatchMode=yes"
    process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "config")], stderr=subprocess.PIPE)
    try:
        _wait_for(port, process)
        yield SshServer(f"{getpass.getuser()}@127.0.0.1:{port}", f"ssh {options}", folder)
    finally:
        process.terminate()
        process.communicate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    assert process.stderr
    pytest.skip(f"sshd does not start here: {process.stderr.read().decode().strip()}")
