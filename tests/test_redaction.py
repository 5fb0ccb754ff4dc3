"""No text that leaves the process contains a secret, or characters that hide something."""

from __future__ import annotations

import base64
import http.server
import io
import json
import os
import string
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promoter import output
from promoter.errors.redaction import Redactor, redact, visible
from promoter.gitops.commit import Proposal
from promoter.hosting.forge import Draft
from promoter.output import ci
from promoter.promotion import journal

HOSTILE = "a\x1b[2Jb\u202ec\u200bd\x9be\U000e0041f\rg"


@given(st.text(string.printable, min_size=8, max_size=40), st.text(max_size=20), st.text(max_size=20))
def test_no_form_of_a_secret_stays(secret: str, before: str, after: str) -> None:
    redactor = Redactor()
    redactor.learn(secret)
    for form in (secret, quote(secret, safe=""), json.dumps(secret)[1:-1], base64.b64encode(secret.encode()).decode()):
        assert form not in redactor(before + form + after).replace("***", "")


@given(st.text())
def test_what_is_visible_is_printable_and_json_reads_it_back(text: str) -> None:
    shown = visible(text)
    shown.encode()
    assert all(char.isprintable() or char in "\n\t" or char.isspace() or not char.isascii() for char in shown)
    assert json.loads(visible(json.dumps(text, ensure_ascii=False))) == text


def test_hidden_characters_are_escaped() -> None:
    assert visible(HOSTILE) == r"a\u001b[2Jb\u202ec\u200bd\u009be\udb40\udc41f\rg"


@pytest.mark.parametrize(
    ("value", "text"), [("production", "to production"), ("blue", "blue"), ("1234", "1234 files"), ("feature-branch", "feature-branch")]
)  # fmt: skip
def test_a_variable_that_only_sounds_secret_leaves_words_alone(value: str, text: str) -> None:
    redactor = Redactor()
    redactor.learn_environment({"CACHE_KEY": value})
    assert redactor(text) == text


def test_a_short_secret_is_known_as_a_word() -> None:
    redactor = Redactor()
    redactor.learn("hunter2", "v1")
    assert redactor("password hunter2, user hunter22 at v1") == "password ***, user hunter22 at v1"


def test_a_secret_that_is_learned_with_every_request_is_kept_once() -> None:
    redactor = Redactor()
    redactor.learn("hunter2", "a-longer-one")
    once = redactor._words, redactor._secrets
    redactor.learn("hunter2", "a-longer-one")
    assert redactor._words is once[0]
    assert redactor._secrets is once[1]
    redactor.learn("hunter3")
    assert redactor("hunter2, hunter3, hunter22") == "***, ***, hunter22"


@pytest.mark.parametrize(
    "piece", ["\n", " ", "a", "eyJ-", "eyJaaaaaaaa.", "token", "-----BEGIN ", "://", "://a", "gh", "x-", "@", "\x1b", "``"]
)
def test_a_text_costs_time_in_proportion_to_its_length(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a pattern that looks ahead from each place, this would not end."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    text = piece * (400_000 // len(piece))
    for shown in (redact.prose(text), output.clean(text), ci.markdown(text)):
        assert len(shown) <= 7 * len(text)


def test_no_line_and_no_json_is_raw(capsys: pytest.CaptureFixture[str]) -> None:
    redact.learn("planted-in-output-1")
    output.say(f"{HOSTILE} planted-in-output-1")
    output.data(f"{HOSTILE} planted-in-output-1")
    output.progress(f"{HOSTILE} planted-in-output-1")
    output.as_json({"text": f"{HOSTILE} planted-in-output-1"})
    read = capsys.readouterr()
    assert "planted" not in read.out + read.err
    assert not set("\x1b\u202e\u200b\x9b\U000e0041\r") & set(read.out + read.err)
    assert json.loads(read.out.partition("\n")[2]) == {"text": f"{HOSTILE} ***"}


def test_a_diff_in_colour_has_no_colours_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    output.data("+a: \x1b[31mred", diff=True)
    assert terminal.getvalue() == "\x1b[32m+a: \\u001b[31mred\x1b[0m\n"


def test_a_pipeline_gets_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    redact.learn("planted-in-pipeline-1")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary"))
    ci.annotate(ci.Level.ERROR, f"{HOSTILE} planted-in-pipeline-1")
    ci.outputs({"image": "planted-in-pipeline-1"})
    ci.summarize(f"{HOSTILE} planted-in-pipeline-1")
    every = capsys.readouterr().err + "".join(file.read_text() for file in tmp_path.iterdir())
    assert "planted" not in every
    assert "\x1b" not in every


def test_commits_and_pull_requests_get_no_secret() -> None:
    redact.learn("planted-in-commit-1")
    text = f"{HOSTILE} planted-in-commit-1"
    message = Proposal({}, text, text, (("Model", text),)).message().decode()
    draft = Draft("b", "main", text, text)
    for written in (message, draft.title, draft.body):
        assert "planted" not in written
        assert not set("\x1b\u202e\u200b\x9b\U000e0041\r") & set(written)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ping @octocat, @org/team", "ping @ octocat, @ org/team"),
        ("fixes #12, closes o/r#3", "fixes # 12, closes o/r# 3"),
        ("resolves https://github.com/o/r/issues/7", "resolves https://github.com/o/r/issues/ 7"),
        ("m@sha256:ab by a@b.example", "m@sha256:ab by a@b.example"),
    ],
)
def test_a_commit_message_mentions_and_closes_nothing(text: str, shown: str) -> None:
    proposal = Proposal({}, text, text, journal.Entry(abort=text).trailers())
    assert proposal.message().decode() == f"{shown}\n\n{shown}\n\nRollout-Abort: {shown}\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ping @octocat", "ping @&#8203;octocat"),
        ("fixes #12", "fixes \\#&#8203;12"),
        ("<!-- x --> <img src=y>", "\\<!-- x --\\> \\<img src=y\\>"),
        ("&lt;!--", "\\&lt;!--"),
        ("host/m@sha256:ab", "host/m@sha256:ab"),
    ],
)
def test_markdown_mentions_closes_and_hides_nothing(text: str, shown: str) -> None:
    assert ci.markdown(text) == shown


# -- the command line -------------------------------------------------------------------------------------------------

TOKEN = "made-up-token-1234"
CONFIG = {
    "models": {"m": {"image": "x.example/m", "kustomize-image": "m"}},
    "environments": [{"name": "e", "model": "m", "application": "app.yaml"}],
}
APPLICATION = """kind: Application
metadata: {name: m, namespace: argocd}
spec: {project: default, source: {repoURL: "https://git.example.com/x.git", path: o, targetRevision: main}}
"""


class Quoting(http.server.BaseHTTPRequestHandler):
    """A server that quotes the request's Authorization header in its error."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        sent = self.headers.get("Authorization", "")
        quoted = [sent, *(part for part in sent.split()), quote(sent)]
        body = json.dumps({"error_code": "X", "message": f"you sent {quoted}"}).encode()
        self.send_response(400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def quoting() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quoting)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def promoter(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    (folder / "app.yaml").write_text(APPLICATION)
    (folder / "promoter.yaml").write_text(json.dumps(CONFIG))
    environ = {"PATH": os.environ["PATH"], "HOME": str(folder), "GITHUB_ACTIONS": "true", **variables}
    environ |= {"GITHUB_STEP_SUMMARY": str(folder / "summary"), "GITHUB_OUTPUT": str(folder / "output")}
    command = [sys.executable, "-m", "promoter", *arguments]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def everything(folder: Path, done: subprocess.CompletedProcess[str]) -> str:
    files = [folder / name for name in ("summary", "output")]
    return done.stdout + done.stderr + "".join(file.read_text() for file in files if file.exists())


@pytest.mark.parametrize(
    "variables",
    [
        {"MLFLOW_TRACKING_TOKEN": TOKEN},
        {"MLFLOW_TRACKING_USERNAME": "somebody", "MLFLOW_TRACKING_PASSWORD": TOKEN},
        {"MLFLOW_TRACKING_USERNAME": "somebody", "MLFLOW_TRACKING_PASSWORD": "hunter2"},
    ],
)
def test_what_a_server_quotes_is_not_printed(tmp_path: Path, quoting: str, variables: dict[str, str]) -> None:
    done = promoter(tmp_path, "model", "m:1", "-o", "json", MLFLOW_TRACKING_URI=quoting, **variables)
    printed = everything(tmp_path, done)
    assert done.returncode == 4
    assert "you sent" in printed
    password = list(variables.values())[-1]
    for secret in (password, base64.b64encode(f"somebody:{password}".encode()).decode()):
        assert secret not in printed


@pytest.mark.parametrize("command", [["model", "m:1"], ["reconcile", "e"]])
def test_a_token_that_ends_in_a_line_break_is_not_printed(tmp_path: Path, command: list[str]) -> None:
    closed = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:1", "ARGOCD_SERVER": "http://127.0.0.1:1"}
    tokens = {"MLFLOW_TRACKING_TOKEN": f"{TOKEN}\n", "ARGOCD_AUTH_TOKEN": f"{TOKEN}\n", "MLFLOW_HTTP_REQUEST_TIMEOUT": "1"}
    done = promoter(tmp_path, *command, **closed, **tokens)
    assert done.returncode not in (0, 1)
    assert TOKEN not in everything(tmp_path, done)
    assert "Traceback" not in done.stderr


def test_a_traceback_contains_no_secret(tmp_path: Path) -> None:
    program = f"""
import sys, threading
sys.argv = ["promoter", "--version"]
from promoter import cli
def fail(*_, **__):
    thread = threading.Thread(target=lambda: int({TOKEN!r}))
    thread.start(); thread.join()
    raise ValueError({TOKEN!r})
cli.app = fail
cli.main()
"""
    environ = {"PATH": os.environ["PATH"], "ARGOCD_AUTH_TOKEN": TOKEN}
    done = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ValueError: ***" in done.stderr
    assert done.stderr.count("Traceback") == 2
    assert TOKEN not in done.stderr
