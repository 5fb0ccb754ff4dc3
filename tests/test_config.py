"""promoter.yaml and Application manifests: what is read, and how a complaint is worded."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest

from promoter import config
from promoter.commands.scaffold import template
from promoter.config.yaml import documents, plain_values
from promoter.errors import ConfigError, ExitCode, UsageError
from promoter.models import Builder, Compress, Embed, ForgeKind, InGroup, MergeMethod, OnWaveFailure, Write


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for path, content in template.files():
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return tmp_path


def edit(folder: Path, old: str, new: str, file: str = config.FILE) -> None:
    path = folder / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def complaint(folder: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config.load(folder / config.FILE)
    assert caught.value.exit_code == ExitCode.USAGE
    return caught.value


def test_the_shipped_files_are_a_valid_configuration(repository: Path) -> None:
    loaded = config.load(repository / config.FILE)
    assert [env.name for env in loaded.environments] == ["staging", "production"]
    staging = loaded.environment("staging")
    assert staging.model.image_name == "inference-service"
    assert staging.application.name == "fraud-detector-staging"
    assert staging.application.path == "overlays/staging"
    assert staging.application.target_revision == "main"
    assert staging.application.repo_url == "https://github.com/your-org/your-gitops-repository.git"


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("alias: challenger", "alais: challenger", "promoter.yaml:14: environments[0].alais: unknown key; did you mean 'alias'?", ""),
        ("alias: challenger", "alias: 3", "promoter.yaml:14: environments[0].alias: input should be a valid string, not 3", ""),
        ("alias: challenger", "alias: v 1", "promoter.yaml:14: environments[0].alias: string should match", ""),
        (
            "alias: challenger",
            "write: pushh",
            "promoter.yaml:14: environments[0].write: input should be 'push' or 'pull-request', not 'pushh'",
            "",
        ),
        (
            "alias: challenger",
            "pull-request: {auto-merge: quash}",
            "promoter.yaml:14: environments[0].pull-request.auto-merge: input should be 'merge', 'squash' or 'rebase', not 'quash'",
            "",
        ),
        (
            "alias: challenger",
            "pull-request: {lables: [x]}",
            "promoter.yaml:14: environments[0].pull-request.lables: unknown key; did you mean 'labels'?",
            "",
        ),
        ("name: staging", "name: Sta ging", "promoter.yaml:11: environments[0].name: string should match pattern", ""),
        ("  application: environments/staging.yaml\n", "", "promoter.yaml:11: environments[0].application: is required", ""),
        (
            "environments/staging.yaml",
            "../x.yaml",
            "promoter.yaml:13: environments[0].application: '../x.yaml' lies outside the repository",
            "inside",
        ),
        ("environments/staging.yaml", "environments/x.yaml", "no such file: 'environments/x.yaml'", "Application manifest"),
        ("environments/staging.yaml", "{nam: x}", "promoter.yaml:13: environments[0].application.", ""),
        ("model: fraud-detector", "model: fraud-detectr", "unknown model 'fraud-detectr'", "did you mean 'fraud-detector'?"),
        ("\nimage:\n", "\nimge:\n", "promoter.yaml:20: imge: unknown key; did you mean 'image'?", ""),
        ("  base:", "  runtme:", "promoter.yaml:21: image.runtme: unknown key; did you mean 'runtime'?", ""),
        ("  base:", "  runtime: scratch\n  base:", "promoter.yaml:22: image.base: can't go with image.runtime, which names", "take base out"),
        ("  base:", "  strategy: build\n  runtime-repository: r.example.com/runtimes\n  base:", "promoter.yaml:22: image.runtime-repository: is for image.strategy: layer", "take runtime-repository"),
        ("  base:", "  runtime: scratch\n  strategy: build\n  #", "promoter.yaml:22: image.strategy: can't go with image.runtime", "take strategy out"),
        ("  base:", "  strategy: build\n  compress: gzip\n  base:", "promoter.yaml:22: image.compress: is for image.strategy: layer", "take compress"),
        ("  base:", "  layout: oci:images\n  base:", "promoter.yaml:21: image.layout: needs image.runtime", "set what it needs"),
        ("  base:", "  packages-mirror: http://x\n  base:", "promoter.yaml:21: image.packages-mirror: is for image.packages that become a layer", "take packages-mirror out"),
        ("  base:", "  packages: [x1]\n  runtime-builder: engine\n  packages-mirror: http://x\n  base:", "promoter.yaml:23: image.packages-mirror: is for image.packages", ""),
        ("  base:", "  packages: [x1]\n  packages-mirror: http://me:word@x\n  base:", "promoter.yaml:22: image.packages-mirror: ", ""),
        ("  base:", "  runtime-builder: unpack\n  strategy: build\n  base:", "promoter.yaml:21: image.runtime-builder: needs promoter's own runtime", "take runtime-builder out"),
        ("  base:", "  runtime-builder: buildah\n  base:", "promoter.yaml:21: image.runtime-builder: ", ""),
        ("  base:", "  build-args: {A: b}\n  base:", "promoter.yaml:21: image.build-args: is for image.dockerfile", "take build-args out"),
        ("  base:", "  dockerfile: Dockerfile\n  base:", "promoter.yaml:21: image.dockerfile: no such file: 'Dockerfile'", "promoter.yaml"),
        ("  base:", "  constraints: ../c.txt\n  base:", "image.constraints: '../c.txt' lies outside the repository", "inside"),
        ("  base:", "  strategy: buildx\n  base:", "promoter.yaml:21: image.strategy: input should be 'layer' or 'build'", ""),
        ("  fraud-detector:", "  github:\n    imag: x\n  fraud-detector:", "models.github.imag: unknown key; did you mean 'image'?", ""),
        ("  fraud-detector:", "  slack:\n    kind: x\n  fraud-detector:", "models.slack.kind: unknown key; available: image, kustomize-image, release-file", ""),
        ("  fraud-detector:", "  environments:\n    imag: x\n  fraud-detector:", "models.environments.imag: unknown key; did you mean 'image'?", ""),
        ("\nimage:\n", "\nnotices:\n- slack: {chanel: C1}\nimage:\n", "notices[0].slack.chanel: unknown key; did you mean 'channel'?", ""),
        ("\nimage:\n", "\nkustomize: {build-options: --enable-helms}\nimage:\n", "kustomize.build-options: unknown option '--enable-helms'", "available: --enable-helm"),
        ("\nimage:\n", "\nkustomize: {build-options: --load-restrictor x}\nimage:\n", "unknown option '--load-restrictor x'", "LoadRestrictionsNone"),
        ("    image: reg", "    imag: reg", "promoter.yaml:6: models.fraud-detector.imag: unknown key; did you mean 'image'?", ""),
        ("    image: registry.example.com/models/fraud-detector\n", "", "models.fraud-detector: needs an image repository", "image.registry"),
        ("release-file: release.yaml", "release-file: ../release.yaml", "'../release.yaml' is not a file name", "in the folder"),
        ("  fraud-detector: #", "  a/b: #", "'a/b' can't be the name of a registered model", "neither"),
        ("name: production", "name: staging", "environments[1]: 'staging' of model 'fraud-detector' is there twice", "keep one"),
        ("  base:", "  compress: zstd\n  #", "image.compress: is none or gzip: Docker Engine before 23", ""),
        ("  base:", "  embed-limit: 2 GB\n  base:", "image.embed-limit: is a number of bytes", ""),
        ("  base:", "  embed-limit: -1\n  base:", "image.embed-limit: input should be greater than or equal to 0", ""),
        ("  base:", "  model: url\n  base:", "image.model: input should be 'embed', 'uri' or 'volume', not 'url'", ""),
        ("\nimage:\n", "\nnotices:\n- slck: {}\nimage:\n", "promoter.yaml:21: notices[0].slck: unknown key; did you mean 'slack'?", ""),
        ("\nimage:\n", "\nnotices:\n- teams: {url: x}\nimage:\n", "notices[0].teams.url-from: is required (url-from are the keys here)", ""),
        ("\nimage:\n", "\nnotices:\n- teams: {url-from: 'https://x'}\nimage:\n", "notices[0].teams.url-from: has to be TEAMS_WEBHOOK_URL, or that with a suffix", ""),
        ("\nimage:\n", "\nnotices:\n- slack: {channel: C1, token-from: ARGOCD_AUTH_TOKEN}\nimage:\n", "notices[0].slack.token-from: has to be SLACK_BOT_TOKEN", ""),
        ("\nimage:\n", "\nnotices:\n- webhook: {url-from: NOTICES_URL, secret-from: NOTICES_SECRETS}\nimage:\n", "notices[0].webhook.secret-from: has to be NOTICES_SECRET", ""),
        ("\nimage:\n", "\nnotices:\n- slack: {channel: C1}\nimage:\n", "notices[0].slack: needs either token-from, with channel, or url-from", ""),
        ("\nimage:\n", "\nnotices:\n- slack: {channel: C1, url-from: SLACK_WEBHOOK_URL_A}\nimage:\n", "notices[0].slack: channel goes with token-from", ""),
        ("\nimage:\n", "\nnotices:\n- kinds: [live]\nimage:\n", "notices[0]: needs exactly one of slack, teams, webhook and github", ""),
        ("\nimage:\n", "\nnotices:\n- github: {}\n  kinds: [lives]\nimage:\n", "notices[0].kinds[0]: input should be 'started', 'live'", ""),
        ("\nimage:\n", "\nnotices:\n- github: {}\n  environments: [prodution]\nimage:\n", "unknown environment 'prodution'", "did you mean 'production'?"),
        ("models:", "models: [", "promoter.yaml:", ""),
        ("- name: staging", "- name: staging\n  name: again", 'promoter.yaml:12: is not valid YAML: while constructing a mapping found duplicate key "name"', ""),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_file_line_and_key(repository: Path, old: str, new: str, message: str, hint: str) -> None:
    edit(repository, old, new)
    error = complaint(repository)
    assert message in error.message
    assert hint in error.hint


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("kind: Application", "kind: ApplicationSet", "environments/staging.yaml:3: kind: is an ApplicationSet, not an Application"),
        ("kind: Application", "kind: App", "environments/staging.yaml: contains no manifest of kind Application"),
        ("metadata:\n", "metadata: x\nlabels:\n", "environments/staging.yaml:4: metadata: is not a mapping"),
        ("  source:\n", "  sources: 5\n  source:\n", "spec.sources: is not a list"),
        ("  source:\n", "  source: []\n  destinations:\n", "spec.source: is not a mapping"),
        ("  source:\n", "  src:\n", "spec.source: is required"),
        ("    path: overlays/staging\n", "    chart: x\n", "spec.source.chart: is a Helm chart"),
        ("name: fraud-detector-staging", "name: 5", "metadata.name: is not text"),
        ("path: overlays/staging", "path: overlays/staging\n    kustomize: {images: x}", "spec.source.kustomize.images: is not a list"),
        ("path: overlays/staging", "path: ../overlays", "environments/staging.yaml:12: spec.source.path: '../overlays' lies outside the repository"),
        ("path: overlays/staging", "path: /etc", "'/etc' lies outside the repository"),
        ("targetRevision: main", "targetRevision: 1.5", "environments/staging.yaml:11: spec.source.targetRevision: is not text"),
        ("    path: overlays/staging\n", "", "spec.source.path: is required"),
        ("  project: fraud-detector", "  sourceHydrator: {}", "environments/staging.yaml:8: spec.sourceHydrator: the source hydrator is not supported"),
    ],
)  # fmt: skip
def test_a_manifest_that_cannot_be_followed_is_refused(repository: Path, old: str, new: str, message: str) -> None:
    edit(repository, old, new, "environments/staging.yaml")
    assert message in complaint(repository).message


def test_what_is_missing_in_a_manifest_is_shown_as_a_line_to_add(repository: Path) -> None:
    edit(repository, "    path: overlays/staging\n", "", "environments/staging.yaml")
    assert complaint(repository).hint == "add `path: overlays/staging`"


def test_an_application_set_is_named_with_what_to_write_instead(repository: Path) -> None:
    edit(repository, "kind: Application", "kind: ApplicationSet", "environments/staging.yaml")
    assert "application: {name: NAME, project: PROJECT}" in complaint(repository).hint


@pytest.mark.parametrize(
    ("text", "options", "cannot"),
    [
        (
            "--enable-helm --load-restrictor LoadRestrictionsNone",
            ("--enable-helm", "--load-restrictor", "LoadRestrictionsNone"),
            "",
        ),
        ("--load-restrictor=LoadRestrictionsNone", ("--load-restrictor", "LoadRestrictionsNone"), ""),
        ("--enable-alpha-plugins --enable-exec", (), "--enable-alpha-plugins"),
        ("''", (), ""),
    ],
)
def test_build_options_are_written_as_argo_cd_has_them(
    repository: Path, text: str, options: tuple[str, ...], cannot: str
) -> None:
    edit(repository, "\nimage:\n", f"\nkustomize:\n  build-options: {text}\nimage:\n")
    found = config.load(repository / config.FILE).render
    assert (found.options, found.cannot, found.network) == (options, cannot, False)


@pytest.mark.parametrize("path", ["./overlays/staging", "overlays/staging/", "./overlays//staging/", "overlays/x/../staging"])
def test_a_path_has_one_spelling(repository: Path, path: str) -> None:
    edit(repository, "path: overlays/staging", f"path: {path}", "environments/staging.yaml")
    assert config.load(repository / config.FILE).environment("staging").application.path == "overlays/staging"


@pytest.mark.parametrize("line", ["    targetRevision: HEAD\n", "    targetRevision: ''\n", ""])
def test_head_or_no_revision_is_the_default_branch(repository: Path, line: str) -> None:
    edit(repository, "    targetRevision: main\n", line, "environments/staging.yaml")
    assert config.load(repository / config.FILE).environment("staging").application.target_revision == "HEAD"


def test_of_source_and_sources_the_sources_count(repository: Path) -> None:
    sources = "  sources:\n  - {repoURL: 'https://git/x.git', targetRevision: live, path: overlays/live}\n  source:\n"
    edit(repository, "  source:\n", sources, "environments/staging.yaml")
    application = config.load(repository / config.FILE).environment("staging").application
    assert (application.path, application.target_revision) == ("overlays/live", "live")


def test_of_several_manifests_in_a_file_one_is_chosen_by_name(repository: Path) -> None:
    both = repository / "environments/staging.yaml"
    both.write_text(both.read_text() + "\n---\n" + (repository / "environments/production.yaml").read_text())
    error = complaint(repository)
    assert "contains 2 Applications: fraud-detector-production, fraud-detector-staging" in error.message
    assert "application: {file: environments/staging.yaml, name: fraud-detector-production}" in error.hint
    named = "{file: environments/staging.yaml, name: fraud-detector-%s}"
    edit(repository, "application: environments/staging.yaml", f"application: {named % 'staging'}")
    edit(repository, "application: environments/production.yaml", f"application: {named % 'production'}")
    found = config.load(repository / config.FILE)
    assert [one.application.path for one in found.environments] == ["overlays/staging", "overlays/production"]
    assert config.named_files(repository / config.FILE)[:2] == ["environments/staging.yaml"] * 2
    edit(repository, named % "staging", named % "stagin")
    assert "contains 0 Applications with the name 'fraud-detector-stagin'" in complaint(repository).message


def test_the_files_of_a_check_are_named_for_a_receiver(repository: Path) -> None:
    """Those by a relative path with a slash: the rest are programs of the machine, and arguments."""
    file = repository / config.FILE
    file.write_text(file.read_text() + "gates: {command: [python3, checks/approve.py, --by/hand, /etc/rules, strict]}\n")
    assert [name for name in config.named_files(file) if "environments" not in name] == ["checks/approve.py"]


def test_of_several_sources_the_one_with_a_path_is_meant(repository: Path) -> None:
    manifest = repository / "environments/staging.yaml"
    text = manifest.read_text()
    start, end = text.index("  source:"), text.index("  destination:")
    sources = "  sources:\n  - repoURL: https://charts.example.com\n    chart: x\n    targetRevision: 1.0.0\n  - repoURL: https://git/x.git\n    targetRevision: refs/heads/live\n    path: overlays/staging\n"
    manifest.write_text(text[:start] + sources + text[end:])
    application = config.load(repository / config.FILE).environment("staging").application
    assert (application.repo_url, application.target_revision) == ("https://git/x.git", "live")


def test_an_application_by_name_has_no_repository_yet(repository: Path) -> None:
    edit(repository, "application: environments/staging.yaml", "application: {name: fraud-staging, project: fraud}")
    application = config.load(repository / config.FILE).environment("staging").application
    assert (application.name, application.project, application.repo_url) == ("fraud-staging", "fraud", "")


def test_a_manifest_through_a_symlink_out_of_the_repository_is_refused(
    repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "app.yaml"
    outside.write_text((repository / "environments/staging.yaml").read_text())
    (repository / "environments/staging.yaml").unlink()
    (repository / "environments/staging.yaml").symlink_to(outside)
    assert "lies outside the repository" in complaint(repository).message


def test_an_unknown_environment_names_the_nearest(repository: Path) -> None:
    with pytest.raises(UsageError) as caught:
        config.load(repository / config.FILE).environment("stagin")
    assert caught.value.message == "promoter.yaml has no environment 'stagin'"
    assert caught.value.hint == "did you mean 'staging'?"


def test_environments_of_several_models_are_distinguished_by_model(repository: Path) -> None:
    edit(repository, "environments: #", "  Churn Modèl:\n    image: r.example.com/churn\nenvironments: #")
    edit(repository, "- name: production\n  model: fraud-detector", "- name: staging\n  model: Churn Modèl")
    loaded = config.load(repository / config.FILE)
    with pytest.raises(UsageError, match="several models have an environment 'staging'"):
        loaded.environment("staging")
    assert loaded.environment("staging", "Churn Modèl").model.repository == "r.example.com/churn"


def test_a_repository_is_made_from_the_registry_and_the_models_name(repository: Path) -> None:
    edit(repository, "    image: registry.example.com/models/fraud-detector\n", "")
    edit(repository, "  base:", "  registry: registry.example.com/models/\n  base:")
    assert (
        config.load(repository / config.FILE).models["fraud-detector"].repository
        == "registry.example.com/models/fraud-detector"
    )


def test_an_environment_may_have_its_own_repository(repository: Path) -> None:
    edit(repository, "  alias: champion", "  alias: champion\n  image: production.example.com/fraud")
    loaded = config.load(repository / config.FILE)
    staging, production = (loaded.environment(name).model for name in ("staging", "production"))
    assert production.repository == "production.example.com/fraud"
    assert staging == loaded.models["fraud-detector"]
    assert loaded.repositories_before(production) == [staging.repository]
    assert loaded.repositories_before(staging) == []
    assert loaded.repositories_before(replace(staging, repository="nobody.example.com/x")) == []


@pytest.mark.parametrize(
    ("written", "limit"), [("0", 0), ("123", 123), ("2 GiB", 2 << 30), ("1.5MiB", 3 << 19), ("10 B", 10), ("null", None)]
)
def test_a_limit_is_in_bytes_or_larger_units(repository: Path, written: str, limit: int | None) -> None:
    edit(repository, "  base:", f"  embed-limit: {written}\n  model: uri\n  compress: gzip\n  base:")
    image = config.load(repository / config.FILE).image
    assert (image.embed_limit, image.model, image.compress) == (limit, Embed.URI, Compress.GZIP)


@pytest.mark.parametrize(
    ("written", "builder"),
    [
        ("platform: linux/amd64", Builder.UNPACK),
        ("packages: [libgomp1]", Builder.UNPACK),
        ("strategy: build", Builder.ENGINE),
        ("dockerfile: promoter.yaml", Builder.ENGINE),
        ("runtime-builder: engine", Builder.ENGINE),
    ],
)
def test_an_engine_builds_what_only_an_engine_can(repository: Path, written: str, builder: Builder) -> None:
    edit(repository, "  base:", f"  {written}\n  base:")
    assert config.load(repository / config.FILE).image.runtime_builder is builder


def test_promoter_yaml_is_found_in_a_folder_above(repository: Path) -> None:
    assert config.find(repository / "overlays" / "staging") == repository / "promoter.yaml"
    with pytest.raises(UsageError, match=r"no promoter\.yaml"):
        config.find(repository.parent)


def test_a_file_that_is_not_utf8_is_refused(repository: Path) -> None:
    (repository / config.FILE).write_bytes(b"models: \xff\n")
    assert complaint(repository).message == "promoter.yaml: is not UTF-8 (byte 8)"


def test_the_schema_in_the_docs_is_the_schema() -> None:
    shipped = Path(__file__).parent.parent / "docs" / "promoter.schema.json"
    assert shipped.read_text() == config.schema()
    assert json.loads(config.schema())["properties"]["models"]


def test_an_environment_sets_its_own_keys_of_pull_requests(repository: Path) -> None:
    edit(repository, "  alias: challenger\n", "  alias: challenger\n  pull-request: {labels: [staging], auto-merge: null}\n")
    edit(repository, "image:\n", "pull-request: {labels: [model], auto-merge: squash, timeout: 60}\nimage:\n")
    loaded = config.load(repository / config.FILE)
    staging, production = (loaded.environment(name).pull_request for name in ("staging", "production"))
    assert (staging.labels, staging.auto_merge, staging.timeout) == (("staging",), None, 60)
    assert (production.labels, production.auto_merge, production.branch_prefix) == (("model",), MergeMethod.SQUASH, "promoter")


def test_the_forge_is_found_by_the_address_unless_it_is_configured(repository: Path) -> None:
    assert config.load(repository / config.FILE).forge == config.ForgeConfig()
    edit(repository, "image:\n", "forge: {kind: azure-devops, api-url: https://tfs.example.com/Main}\nimage:\n")
    forge = config.load(repository / config.FILE).forge
    assert (forge.kind, forge.api_url, forge.repository) == (ForgeKind.AZURE_DEVOPS, "https://tfs.example.com/Main", None)


def test_an_anchor_that_is_set_again_is_no_warning() -> None:
    text = "a: &x 1\nb: *x\nc: &x 2\nd: *x\n"
    (document,) = documents(text, "f")
    assert document.value == {"a": 1, "b": 1, "c": 2, "d": 2}
    assert plain_values(text, "f") == [document.value]


@pytest.mark.parametrize(
    ("value", "line"),
    [("!!int ''", 2), ("!!float ''", 2), ("!!bool x", 2), ("{[[b]]: c}", 2), ("2026-99-99", 2), ('"\\UFFFFFFFF"', None)],
)
def test_what_the_parser_s_code_raises_is_an_error_with_its_place(value: str, line: int | None) -> None:
    text = f"a: 1\nb: {value}\n"
    with pytest.raises(ConfigError, match="is not valid YAML") as caught:
        documents(text, "f")
    assert (caught.value.file, caught.value.line) == ("f", line)
    with pytest.raises(ConfigError, match="is not valid YAML"):
        plain_values(text, "f")


def test_yaml_from_outside_has_two_doors() -> None:
    """Both bound what aliases stand for; the sandbox of the demo reads what promoter wrote, and the output only writes."""
    package = Path(config.__file__).parents[1]
    makes = {str(file.relative_to(package)) for file in package.rglob("*.py") if "YAML(" in file.read_text()}
    assert {one for one in makes if not one.startswith(("demo/sandbox/", "output/"))} == {
        "config/yaml.py",
        "kustomize/yaml_file.py",
    }


# -- groups -----------------------------------------------------------------------------------------------------------


def grouped(folder: Path, staging: str, production: str) -> Path:
    """The shipped configuration, with more keys for its two environments."""
    edit(folder, "  alias: challenger\n", f"  alias: champion\n{staging}")
    text = (folder / config.FILE).read_text()
    (folder / config.FILE).write_text(text.replace("  alias: champion\n\n", f"  alias: champion\n{production}\n"))
    return folder


def test_a_group_is_in_the_order_of_its_waves(repository: Path) -> None:
    grouped(repository, "  group: worldwide\n  wave: 2\n", "  group: worldwide\n  soak: 30m\n  region: westeurope\n")
    loaded = config.load(repository / config.FILE)
    assert [one.name for one in loaded.group("worldwide")] == ["production", "staging"]
    assert loaded.group("worldwide")[0].group == InGroup("worldwide", 1, 1800.0, OnWaveFailure.HOLD, "westeurope")
    assert loaded.group("staging") == ()
    with pytest.raises(UsageError, match="'worldwide' is a group of environments"):
        loaded.environment("worldwide")


@pytest.mark.parametrize(
    ("staging", "production", "key", "message"),
    [
        ("  wave: 2\n", "", "environments[0].wave", "is for environments of a group"),
        ("  region: eu\n", "", "environments[0].region", "is for environments of a group"),
        ("  group: production\n", "", "environments[0].group", "'production' is an environment"),
        ("  group: all\n", "  group: all\n  on-alias: promote\n", "environments[1].on-alias", "promote is not ignore"),
        ("  group: all\n  wave: 0\n", "", "environments[0].wave", "greater than or equal to 1"),
        ("  group: all\n  on-wave-failure: stop\n", "", "environments[0].on-wave-failure", "'hold' or 'revert'"),
    ],
)
def test_what_is_wrong_with_a_group_is_named(repository: Path, staging: str, production: str, key: str, message: str) -> None:
    found = complaint(grouped(repository, staging, production))
    assert found.key == key
    assert message in found.message


# -- environments of several models -----------------------------------------------------------------------------------

SEVERAL = """\
models:
  churn: {image: registry.example.com/churn}
  fraud-card: {image: registry.example.com/fraud-card}
  fraud-wire: {image: registry.example.com/fraud-wire}
environments:
- name: staging
  models: ["*"]
  application: {name: "{model}-{env}", project: "{model}"}
  alias: challenger
- name: production
  models: [fraud-*, churn]
  application: environments/{model}-{env}.yaml
  alias: champion
  gates: {age: {at-least: 1d}}
  exceptions:
    churn:
      write: pull-request
      application: {name: churn-live}
      gates: {age: {at-least: 2d}}
image: {runtime: scratch}
"""


def several(folder: Path, old: str = "", new: str = "") -> Path:
    assert old in SEVERAL
    (folder / config.FILE).write_text(SEVERAL.replace(old, new, 1) if old else SEVERAL)
    (folder / "environments").mkdir(exist_ok=True)
    for name, environment in itertools.product(("fraud-card", "fraud-wire"), ("staging", "production")):
        (folder / f"environments/{name}-{environment}.yaml").write_text(
            f"kind: Application\nmetadata: {{name: {name}-live, namespace: argocd}}\nspec:\n  project: default\n"
            f"  source: {{repoURL: https://git.example.com/x.git, path: overlays/{name}, targetRevision: main}}\n"
        )
    return folder


def test_an_environment_is_written_once_for_several_models(tmp_path: Path) -> None:
    loaded = config.load(several(tmp_path) / config.FILE)
    assert [(one.name, one.model.name, one.application.name) for one in loaded.environments] == [
        ("staging", "churn", "churn-staging"),
        ("staging", "fraud-card", "fraud-card-staging"),
        ("staging", "fraud-wire", "fraud-wire-staging"),
        ("production", "churn", "churn-live"),
        ("production", "fraud-card", "fraud-card-live"),
        ("production", "fraud-wire", "fraud-wire-live"),
    ]
    churn, card = loaded.environment("production", "churn"), loaded.environment("production", "fraud-card")
    assert (churn.write, card.write, churn.alias) == (Write.PULL_REQUEST, Write.PUSH, "champion")
    ages = [loaded.gates[one.key].age for one in (churn, card)]
    assert [one.at_least for one in ages if one] == [2 * 86400, 86400]
    assert loaded.environment("staging", "churn").application.project == "churn"
    assert config.named_files(tmp_path / config.FILE) == [
        "environments/fraud-card-production.yaml",
        "environments/fraud-wire-production.yaml",
    ]


@pytest.mark.parametrize(
    ("old", "new", "complaint_"),
    [
        ("[fraud-*, churn]", "[fraud-*, chrun]", "promoter.yaml:11: environments[1].models[1]: 'chrun' means no model"),
        (
            "[fraud-*, churn]",
            "[fraud-*]",
            "promoter.yaml:16: environments[1].exceptions.churn: 'churn' is not among the models here",
        ),
        ('["*"]', '["*"]\n  model: churn', "promoter.yaml:7: environments[0].models: model and models exclude each other"),
        ("{model}-{env}.yaml", "{team}.yaml", "promoter.yaml:12: environments[1].application: has an unknown field {team}"),
        ("{model}-{env}.yaml", "{model.yaml", "promoter.yaml:12: environments[1].application: has a brace that is not part"),
        ("write: pull-request", "wriet: pull-request", "promoter.yaml:17: environments[1].exceptions.churn.wriet: unknown key"),
        ("write: pull-request", "name: other", "promoter.yaml:17: environments[1].exceptions.churn.name: unknown key"),
        (
            "{model}-{env}.yaml",
            "{model}.yaml",
            "promoter.yaml:12: environments[1].application: no such file: 'environments/fraud-card",
        ),
        ("name: production", "name: staging", "promoter.yaml:10: environments[1]: 'staging' of model 'churn' is there twice"),
    ],
)
def test_what_is_wrong_for_several_models_is_named(tmp_path: Path, old: str, new: str, complaint_: str) -> None:
    assert str(complaint(several(tmp_path, old, new))).startswith(complaint_)
