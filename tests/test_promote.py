"""promote against a real MLflow server and a real Git remote, as processes where that matters."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from promoter import __version__
from promoter.commands.history import history
from promoter.commands.plan import promotion_id
from promoter.config.names import image_name
from promoter.errors import AuthError, ExitCode, PromoterError, RefusedError, SupersededError, UsageError
from promoter.kustomize import release as kustomize
from promoter.kustomize.overlay import read_overlay
from promoter.kustomize.render import tool
from promoter.models import Status
from tests.support.write_path import KUSTOMIZATION, OVERLAY, PROMOTION, RELEASE, WritePath, path, seed

__all__ = ["path"]

WRITERS = 16


# -- one promotion ----------------------------------------------------------------------------------------------------


def test_a_promotion_changes_its_values_and_nothing_else(path: WritePath) -> None:
    for version in ("1", "2"):
        path.register()
        path.promote(f"{path.model}:{version}")
    shown = path.git("show", "--format=", "--unified=0", "main").splitlines()
    changed = [line for line in shown if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    keys = [line[1:].strip().partition(":")[0] for line in changed]
    assert sorted(keys) == sorted(["newTag", "digest", "modelVersion", "modelDigest"] * 2)
    assert path.git("diff", "--name-only", "main^", "main").split() == [KUSTOMIZATION, RELEASE]


def test_an_application_that_follows_head_is_written_to_the_default_branch(path: WritePath) -> None:
    path.register()
    path.edit("environments/staging.yaml", "targetRevision: main", "targetRevision: HEAD")
    done = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-watch", "--no-render")
    assert done.returncode == 0, done.stderr
    assert path.git("diff", "--name-only", "main^", "main").split() == [KUSTOMIZATION, RELEASE]


@pytest.mark.skipif(tool() is None, reason="neither kustomize nor kubectl is here")
def test_what_cannot_be_built_here_is_a_warning_with_its_reason(path: WritePath) -> None:
    path.register()
    chart = b"helmCharts:\n- {name: redis, repo: 'https://charts.example.com', version: 1.0.0}\n"
    path.commit({KUSTOMIZATION: path.read(KUSTOMIZATION) + chart})
    path.config.write_text(path.config.read_text() + "kustomize: {build-options: --enable-helm}\n")
    made = path.plan(f"{path.model}:1", rendering=True)
    assert made.warnings[-1].startswith(
        "the overlay is not built here, so nothing shows that it runs the release: the chart redis"
    )
    assert path.apply(made).commit == path.tip


def test_the_commit_shows_what_was_promoted(path: WritePath) -> None:
    path.register()
    replaced = path.git("rev-parse", f"main:{RELEASE}").strip()
    outcome = path.promote(f"{path.model}@challenger")
    assert outcome.commit == path.tip
    release = outcome.release
    assert path.trailers() == {
        "Promotion-Id": promotion_id(path.clients().config.environment("staging"), release, replaced),
        "Model": path.model,
        "Model-Version": "1",
        "Model-Digest": release.model_digest,
        "Image": release.image,
        "Environment": "staging",
        "Promoter-Version": __version__,
    }
    assert release.digest == path.image_digest(release.tag)
    message = path.git("log", "-1", "--format=%B").splitlines()
    assert message[0] == f"Promote {path.model} version 1 to staging"
    assert f"image: nothing -> {release.image}" in message
    assert "accuracy: 0.9" in message


def test_metrics_stand_next_to_those_of_the_version_before(path: WritePath) -> None:
    for accuracy in (0.9, 0.95):
        path.promote(f"{path.model}:{path.register(accuracy=accuracy)}")
    assert "accuracy: 0.9 -> 0.95" in path.git("log", "-1", "--format=%B").splitlines()


def test_a_version_that_mlflow_lost_costs_the_comparison_only(path: WritePath) -> None:
    for version in (path.register(), path.register(accuracy=0.95)):
        path.promote(f"{path.model}:{version}")
        path.server.api("DELETE", "model-versions/delete", name=path.model, version=version)
    path.promote(f"{path.model}:{path.register(accuracy=0.97)}")
    assert "accuracy: 0.97" in path.git("log", "-1", "--format=%B").splitlines()


def test_the_same_version_again_is_already_there(path: WritePath) -> None:
    path.register()
    arguments = ("promote", f"{path.model}@challenger", "--to", "staging", "--no-watch")
    first = path.run(*arguments, "-o", "json")
    assert first.returncode == 0, first.stderr
    assert json.loads(first.stdout)["commit"] == path.tip
    state = path.outside()
    second = path.run(*arguments)
    assert (second.returncode, second.stdout) == (0, f"{path.model} version 1 is already there in staging: no commit\n")
    assert path.outside() == state


def test_the_outcome_as_json_has_these_fields(path: WritePath) -> None:
    path.register()
    done = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-watch", "--no-render", "-o", "json")
    outcome = json.loads(done.stdout)
    assert list(outcome) == [
        "event",
        "time",
        "commit",
        "error",
        "resume",
        "environment",
        "release",
        "image",
        "changes",
        "steps",
        "pull_request",
        "exit_code",
    ]
    assert (outcome["event"], outcome["exit_code"]) == ("outcome", 0)
    assert [step["name"] for step in outcome["steps"]] == ["model", "overlay", "image", "gates", "publish", "commit"]
    assert list(outcome["steps"][0]) == ["name", "status", "detail", "seconds"]
    assert {step["status"] for step in outcome["steps"]} == {"succeeded"}


def test_one_environment_leaves_the_others_alone(path: WritePath) -> None:
    path.register()
    staging = path.promote(f"{path.model}:1")
    production = path.promote(f"{path.model}:1", to="production")
    assert production.image.reused
    assert production.image.digest == staging.image.digest
    assert path.git("diff", "--name-only", "main^", "main").split() == [
        "overlays/production/kustomization.yaml",
        "overlays/production/release.yaml",
    ]


# -- what came in between ---------------------------------------------------------------------------------------------


def test_another_release_since_the_plan_supersedes_a_version(path: WritePath) -> None:
    path.register()
    path.register()
    made = path.plan(f"{path.model}:1")
    other = path.promote(f"{path.model}:2")
    with pytest.raises(SupersededError, match="environment 'staging' changed since the plan") as caught:
        path.apply(made)
    assert caught.value.exit_code == ExitCode.SUPERSEDED
    assert f"deploys version 2 ({other.release.image})" in caught.value.message
    assert path.tip == other.commit


def test_another_release_since_the_plan_goes_under_while_the_alias_is_ours(path: WritePath) -> None:
    path.register(alias="challenger")
    path.register(alias=None)
    made = path.plan(f"{path.model}@challenger")
    other = path.promote(f"{path.model}:2")
    outcome = path.apply(made)
    assert path.commits()[:2] == [outcome.commit, other.commit]
    assert path.git("log", "-1", "--format=%s").strip().endswith("version 1 to staging (was 2)")


def test_a_moved_alias_supersedes(path: WritePath) -> None:
    path.register(alias="challenger")
    made = path.plan(f"{path.model}@challenger")
    path.register(alias="challenger")
    path.promote(f"{path.model}@challenger")
    with pytest.raises(SupersededError):
        path.apply(made)


def test_the_same_release_since_the_plan_is_already_there(path: WritePath) -> None:
    path.register()
    made = path.plan(f"{path.model}:1")
    other = path.promote(f"{path.model}:1")
    outcome = path.apply(made)
    assert (outcome.commit, outcome.changes) == (None, ())
    assert outcome.steps[-1].status is Status.SKIPPED
    assert path.tip == other.commit


def test_other_peoples_edits_since_the_plan_stay(path: WritePath) -> None:
    path.register()
    made = path.plan(f"{path.model}:1")
    theirs = path.read(KUSTOMIZATION) + b"# theirs\n"
    path.commit({KUSTOMIZATION: theirs, "overlays/staging/notes.txt": b"theirs\n"})
    assert path.apply(made).commit == path.tip
    assert path.read(KUSTOMIZATION).endswith(b"# theirs\n")
    assert path.read("overlays/staging/notes.txt") == b"theirs\n"


@pytest.mark.parametrize("unattended", [True, False])
@pytest.mark.parametrize("state", ["quarantined", "rejected", "rolled-back"])
def test_what_was_decided_since_the_plan_counts(path: WritePath, state: str, unattended: bool) -> None:
    """Between plan and commit lies an upload. The overlay deploys again what the plan saw, and the version was decided about."""
    path.register()
    path.register()
    path.promote(f"{path.model}:1")
    made = path.plan(f"{path.model}:2", unattended=unattended)
    entry = f"- {{environment: staging, model: {path.model}, version: '2', state: {state}}}"
    path.commit({PROMOTION: b"versions:\n" + entry.encode() + b"\n"})
    tip = path.tip
    if state == "rolled-back" and not unattended:
        assert path.apply(made).commit == path.tip, "a person named the version"
        assert b"state: allowed" in path.read(PROMOTION)
        return
    with pytest.raises(RefusedError) as caught:
        path.apply(made)
    assert PROMOTION in caught.value.message + caught.value.hint
    assert path.tip == tip


def test_force_lifts_the_quarantine_in_the_same_commit(path: WritePath) -> None:
    path.register()
    entry = f"- {{environment: staging, model: {path.model}, version: '1', state: quarantined}}"
    path.commit({PROMOTION: b"versions:\n" + entry.encode() + b"\n"})
    refused = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-watch", "--no-render")
    assert refused.returncode == ExitCode.REFUSED
    done = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-watch", "--no-render", "--force")
    assert done.returncode == 0, done.stderr
    assert b"state: allowed" in path.read(PROMOTION)
    again = path.run("plan", f"{path.model}:1", "--to", "staging", "--no-render")
    assert again.returncode == 0, again.stderr


def test_an_environment_with_its_own_repository_gets_the_image_that_the_one_before_runs(path: WritePath) -> None:
    path.register()
    path.edit("promoter.yaml", "  alias: champion", "  alias: champion\n  image: production.example.com/models")
    staged = path.promote(f"{path.model}:1")
    made = path.plan(f"{path.model}:1", to="production")
    assert made.image
    assert made.after.image == f"production.example.com/models:{staged.image.tag}@{staged.image.digest}"
    assert path.image_digest(staged.image.tag, "production.example.com/models") is None
    outcome = path.apply(made)
    assert outcome.release == made.after
    assert outcome.image.copied_from
    assert path.image_digest(staged.image.tag, "production.example.com/models") == staged.image.digest
    assert b"newName: production.example.com/models" in path.read("overlays/production/kustomization.yaml")
    # Staging does not look ahead.
    path.register()
    path.promote(f"{path.model}:2", to="production")
    assert path.plan(f"{path.model}:2").image is None


# -- what forbids it --------------------------------------------------------------------------------------------------


def test_files_that_were_changed_after_publishing_are_refused(path: WritePath) -> None:
    path.register(b"as published")
    published = path.promote(f"{path.model}:1")
    made = path.plan(f"{path.model}:1", to="production")
    artifact_uri = made.version.artifact_uri
    path.server.put(artifact_uri, {"weights.bin": b"as tampered!"})
    tip = path.tip
    done = path.run("promote", f"{path.model}:1", "--to", "production", "--no-watch", "--no-render")
    assert done.returncode == ExitCode.REFUSED
    assert "somebody changed the files of a registered version" in done.stderr
    named = {word.rstrip(",") for word in done.stderr.split() if word.startswith("sha256:")}
    assert published.release.model_digest in named
    assert len(named) == 2
    assert path.image_digest(published.image.tag) == published.image.digest
    assert path.tip == tip


def test_pull_requests_of_a_forge_that_nobody_named(path: WritePath) -> None:
    """Nothing is published first."""
    path.register()
    path.edit("promoter.yaml", "  alias: challenger", "  alias: challenger\n  write: pull-request")
    before = path.outside()
    with pytest.raises(UsageError, match=r"cannot determine the forge") as caught:
        path.promote(f"{path.model}:1")
    assert "forge.kind" in caught.value.hint
    assert path.outside() == before


def test_a_protected_branch(path: WritePath) -> None:
    path.register()
    hook = path.remote / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'main is protected: open a merge request' >&2\nexit 1\n")
    hook.chmod(hook.stat().st_mode | stat.S_IXUSR)
    tip = path.tip
    done = path.run("promote", f"{path.model}:1", "--to", "staging", "--no-watch", "--no-render")
    assert done.returncode == ExitCode.REFUSED
    assert "main is protected: open a merge request" in done.stderr
    assert "write: pull-request" in done.stderr
    assert path.tip == tip
    hook.unlink()
    assert path.promote(f"{path.model}:1").image.reused


NAMES = [
    "Fraud Detector",
    "two  spaces",
    "модель",
    "a; rm -rf $(x) `y` & | > z",
    "x..y",
    "-n",
    "'\"{{ }}",
    "# - [a], *b",
    "yes",
    "e" * 200,
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_that_mlflow_takes_is_mapped_to_valid_ones(path: WritePath, name: str) -> None:
    path.register(model=name)
    path.config.write_text(
        f"models:\n  {json.dumps(name)}: {{}}\nenvironments:\n- {{name: staging, application: environments/staging.yaml}}\n"
        "image: {registry: registry.example.com/models, runtime: scratch, layout: 'oci:images'}\n"
    )
    release_file = path.read(RELEASE).replace(path.model.encode(), json.dumps(name).encode())
    path.commit(
        {RELEASE: release_file, KUSTOMIZATION: path.read(KUSTOMIZATION).replace(b"name: inference-service\n", b"name: x\n", 1)}
    )
    version = path.server.api("GET", "registered-models/get", name=name)["registered_model"]["aliases"][0]["version"]
    outcome = path.promote(f"{name}@challenger")
    assert outcome.release.repository == f"registry.example.com/models/{image_name(name)}"
    assert path.image_digest(outcome.image.tag, outcome.release.repository) == outcome.image.digest
    clients = path.clients()
    [entry] = history(clients, clients.config.environment("staging"), 20, print)
    assert (entry.model, entry.version) == (name, version)
    assert path.promote(f"{name}@challenger").commit is None


@pytest.mark.parametrize("name", ["..", ".", "a/b", "a:b", "tab\there"])
def test_names_that_could_lead_elsewhere_are_refused(path: WritePath, name: str) -> None:
    path.edit("promoter.yaml", f"  {path.model}: #", f"  {json.dumps(name)}: #")
    with pytest.raises(PromoterError, match="can't be the name of a registered model") as caught:
        path.clients()
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.message.startswith("promoter.yaml:")


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_no_token_is_seen_anywhere(path: WritePath) -> None:
    secrets = ("t0ken-in-git-url", "w0rd-in-mlflow-uri", "t0ken-of-promoter")
    address = path.remote.as_uri()
    path.edit("environments/staging.yaml", address, f"https://git:{secrets[0]}@git.example.com/gitops.git")
    path.config.write_text(path.config.read_text() + f"git:\n  push-url: {address}\n")
    path.register()
    environ = {
        "MLFLOW_TRACKING_URI": path.server.url.replace("://", f"://anna:{secrets[1]}@"),
        "PROMOTER_GIT_TOKEN": secrets[2],
        "PROMOTER_GIT_HOSTS": "git.example.com",
    }
    target = (f"{path.model}@challenger", "--to", "staging")
    runs = [path.run("plan", *target, *form, **environ) for form in ((), ("-o", "json"))]
    runs += [path.run("promote", *target, "--no-watch", *form, **environ) for form in ((), ("-o", "json"))]
    runs.append(path.run("model", f"{path.model}@challenger", "-o", "json", **environ))
    runs.append(path.run("history", "staging", "-o", "json", **environ))
    assert [done.returncode for done in runs] == [0] * len(runs), runs[-1].stderr
    written = "".join(done.stdout + done.stderr for done in runs) + path.git("log", "-p", "--format=fuller")
    assert "git.example.com" in written
    assert not [secret for secret in secrets if secret in written]


def test_a_remote_that_is_not_there(path: WritePath) -> None:
    path.register()
    path.edit("environments/staging.yaml", path.remote.as_uri(), (path.folder / "gone.git").as_uri())
    with pytest.raises(AuthError, match="does not exist, or this identity may not read it"):
        path.plan(f"{path.model}:1")


# -- many at once -----------------------------------------------------------------------------------------------------


def test_many_processes_write_one_kustomization_and_no_release_is_lost(path: WritePath) -> None:
    names = [f"{path.model}-{number}" for number in range(WRITERS)]
    _crowd(path, names)
    for name in names:
        path.register(model=name)
    start = path.tip
    processes = [
        subprocess.Popen(
            path.command("promote", f"{name}@challenger", "--to", "staging", "--no-watch", "--no-render"),
            # Every fourth one has a cache of its own, as on another machine: those race at the remote.
            env=path.environ | ({} if number % 4 else {"XDG_CACHE_HOME": str(path.folder / f"cache-{name}")}),
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number, name in enumerate(names)
    ]
    ended = [(process.communicate()[1], process.returncode) for process in processes]
    assert [code for _, code in ended] == [0] * WRITERS, [told for told, code in ended if code]
    commits = path.commits(since=start)
    assert sorted(path.trailers(commit)["Model"] for commit in commits) == sorted(names)
    for commit in commits:
        files = path.git("diff", "--name-only", f"{commit}^", commit).split()
        assert files == [KUSTOMIZATION, f"{OVERLAY}/release-{path.trailers(commit)['Model']}.yaml"]
    clients = path.clients()
    for name in names:
        environment = clients.config.environment("staging", name)
        snapshot = clients.repository(environment.application).fetch()
        deployed = kustomize.deployed(read_overlay(snapshot, environment), environment.model)
        assert deployed is not None
        assert (deployed.version, deployed.digest) == ("1", path.image_digest(deployed.tag, deployed.repository))


def _crowd(path: WritePath, names: list[str]) -> None:
    """One overlay that deploys all these models, each in a release file and an images entry of its own."""
    models = "".join(f"  {name}: {{release-file: release-{name}.yaml}}\n" for name in names)
    environments = "".join(f"- {{name: staging, model: {name}, application: environments/staging.yaml}}\n" for name in names)
    image = "{registry: registry.example.com/models, runtime: scratch, layout: 'oci:images'}"
    path.config.write_text(f"models:\n{models}environments:\n{environments}image: {image}\n")
    release = path.read(RELEASE).decode()
    kustomization = "resources:\n" + "".join(f"- release-{name}.yaml\n" for name in names)
    kustomization += "images:\n" + "".join(f"- name: {name}\n" for name in names)
    files = {
        f"{OVERLAY}/release-{name}.yaml": release.replace(f"modelName: {path.model}", f"modelName: {name}") for name in names
    }
    path.commit({KUSTOMIZATION: kustomization.encode(), **{file: text.encode() for file, text in files.items()}})


# -- killed -----------------------------------------------------------------------------------------------------------

_GIT_THAT_KILLS = """#!/bin/sh
# git, except that the promoter that asks is killed before its command number N, or while that command goes on alone.
echo "$1" >> "$GIT_LOG"
number=$(($(wc -l < "$GIT_LOG")))
case "$KILL_AT" in
"before $number") kill -9 $PPID; exit 1 ;;
"during $number") kill -9 $PPID ;;
esac
exec "$REAL_GIT" "$@"
"""
_WRITING = (
    ("during", "fetch"),
    ("before", "index-pack"),
    ("during", "commit-tree"),
    ("before", "push"),
    ("during", "push"),
)


@dataclass(frozen=True)
class Twins:
    """The same model promoted along two write paths, one of them killed now and then: they must end the same."""

    killed: WritePath
    unharmed: WritePath

    @property
    def arguments(self) -> tuple[str, ...]:
        return "promote", self.reference, "--to", "staging", "--no-watch", "--no-render"

    def promoting(self) -> subprocess.Popen[str]:
        command = self.killed.command(*self.arguments)
        return subprocess.Popen(command, env=self.killed.environ, text=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def end_the_same(self) -> None:
        self.killed.promote(self.reference)
        self.unharmed.promote(self.reference)
        assert _state(self.killed) == _state(self.unharmed)
        left = [*self.killed.images.glob(".upload-*"), *Path(self.killed.environ["XDG_CACHE_HOME"]).rglob("*.lock")]
        assert left == []

    @property
    def reference(self) -> str:
        return f"{self.killed.model}@challenger"


def _state(path: WritePath) -> tuple[object, ...]:
    """The overlay's bytes, the message of every commit to it, and the digest of every image."""
    manifests = json.loads((path.images / "index.json").read_bytes())["manifests"]
    images = {manifest["annotations"]["org.opencontainers.image.ref.name"]: manifest["digest"] for manifest in manifests}
    return path.read(KUSTOMIZATION), path.read(RELEASE), path.git("log", "--format=%B", "--", OVERLAY), images


@pytest.fixture
def twins(path: WritePath, tmp_path: Path) -> Twins:
    (tmp_path / "unharmed").mkdir()
    return Twins(path, seed(tmp_path / "unharmed", path.server, path.model))


def test_killed_as_a_step_is_reported(twins: Twins) -> None:
    for step in ("model", "image", "overlay", "publish", "commit"):
        twins.killed.register()
        with twins.promoting() as process:
            assert process.stderr is not None
            assert any(line.split()[1] == step for line in process.stderr), f"no step {step} was told"
            process.kill()
        twins.end_the_same()


def test_killed_while_the_image_is_written(twins: Twins) -> None:
    for _ in range(5):  # it may be faster than we look
        twins.killed.register(bytes(32_000_000))
        with twins.promoting() as process:
            while process.poll() is None:
                if _half_written(twins.killed.images) > 1_000_000:
                    process.kill()
        caught = _half_written(twins.killed.images) > 1_000_000
        assert twins.killed.run(*twins.arguments).returncode == 0
        twins.end_the_same()
        if caught:
            return
    pytest.fail("it was never caught with half an image")


def _half_written(images: Path) -> int:
    """The bytes of files in the layout that do not have their names yet."""
    try:
        return sum(file.stat().st_size for file in images.glob(".upload-*"))
    except FileNotFoundError:
        return 0  # it has its name now


def test_killed_around_the_git_commands_that_write(twins: Twins, tmp_path: Path) -> None:
    environ = _git_that_kills(tmp_path)
    log = Path(environ["GIT_LOG"])
    twins.killed.register()
    twins.end_the_same()
    twins.killed.register()
    assert twins.killed.run(*twins.arguments, **environ, KILL_AT="never").returncode == 0
    numbers = {command: number for number, command in enumerate(log.read_text().split(), start=1)}
    for moment in [f"{when} {numbers[command]}" for when, command in _WRITING]:
        twins.end_the_same()
        twins.killed.register()
        log.write_text("")
        assert twins.killed.run(*twins.arguments, **environ, KILL_AT=moment).returncode == -signal.SIGKILL, moment
    twins.end_the_same()


def _git_that_kills(folder: Path) -> dict[str, str]:
    program = folder / "bin" / "git"
    program.parent.mkdir()
    program.write_text(_GIT_THAT_KILLS)
    program.chmod(0o755)
    path = f"{program.parent}{os.pathsep}{os.environ['PATH']}"
    passed = "REAL_GIT GIT_LOG KILL_AT"
    return {"PATH": path, "PROMOTER_PASS_ENV": passed, "REAL_GIT": str(shutil.which("git")), "GIT_LOG": str(folder / "git.log")}
