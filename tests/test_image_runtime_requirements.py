"""What a model asks for, from the files that MLflow writes, and what is refused because it can't be locked."""

from __future__ import annotations

from pathlib import Path

import pytest

import promoter.serving
from promoter.errors import ConfigError, RefusedError
from promoter.image.runtime.requirements import Requirements, read_requirements
from tests.support.models import listing, model_version, store

ENV = b"python: 3.11.7\nbuild_dependencies:\n- pip==23.2.1\ndependencies:\n- -r requirements.txt\n"
MLMODEL = b"flavors:\n  python_function:\n    python_version: 3.10.4\nmlflow_version: 3.4.1\n"
CONDA = b"""\
channels: [conda-forge]
dependencies:
- python=3.12.1
- pip<=24
- pip:
  - mlflow==3.17.2
  - xgboost==3.0.0
name: mlflow-env
"""
_SERVER = Path(promoter.serving.__file__).with_name("requirements.txt").read_text()
ALWAYS = {"numpy", "pandas", "pip", *(line for line in _SERVER.splitlines() if not line.startswith("#"))}


def read(files: dict[str, bytes]) -> Requirements:
    return read_requirements(model_version(listing(files)), store(files).open)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        ("mlflow==3.17.2\nscikit-learn==1.9.1\n", {"mlflow-skinny==3.17.2", "scikit-learn==1.9.1"}),
        (
            "MLflow[databricks, genai] == 3.17.2 ; python_version > '3.9'",
            {"mlflow-skinny[databricks, genai] == 3.17.2 ; python_version > '3.9'"},
        ),
        ("mlflow-skinny==3.1\nmlflow-tracing==3.1", {"mlflow-skinny==3.1", "mlflow-tracing==3.1"}),
        ("# nothing of MLflow\n\nxgboost==3.0.0  # boosted\n", {"mlflow-skinny==3.4.1", "xgboost==3.0.0"}),
        (
            "mlflow==3.1\nscipy==1.17.1 \\\n    --hash=sha256:abc \\\n    --hash=sha256:def\n",
            {"mlflow-skinny==3.1", "scipy==1.17.1"},
        ),
        (
            "--extra-index-url https://download.example.com/whl/cpu\n-i https://${USER}:${TOKEN}@example.com/simple\nmlflow==3.1\ntorch==2.9+cpu",
            {"mlflow-skinny==3.1", "torch==2.9+cpu"},
        ),
        ("mlflow>=3,<4\nNumPy==2.1\npandas[parquet]==2.3\n", {"mlflow-skinny>=3,<4", "NumPy==2.1", "pandas[parquet]==2.3"}),
    ],
)
def test_requirements_of_a_model_and_its_server(lines: str, wanted: set[str]) -> None:
    found = read({"requirements.txt": lines.encode(), "python_env.yaml": ENV, "MLmodel": MLMODEL})
    named = {name for line in wanted for name in ("numpy", "pandas") if line.lower().startswith(name)}
    assert set(found.lines) == wanted | (ALWAYS - named)
    assert found.lines == tuple(sorted(found.lines))
    assert found.python == "3.11"


@pytest.mark.parametrize(
    ("files", "python"),
    [
        ({"python_env.yaml": ENV, "conda.yaml": CONDA, "MLmodel": MLMODEL}, "3.11"),
        ({"python_env.yaml": b'python: "3.10"\n'}, "3.10"),
        ({"python_env.yaml": b"python: 3.10\n"}, "3.10"),
        ({"conda.yaml": CONDA, "MLmodel": MLMODEL}, "3.12"),
        ({"MLmodel": MLMODEL}, "3.10"),
    ],
)
def test_python_of_a_model(files: dict[str, bytes], python: str) -> None:
    assert read({"requirements.txt": b"mlflow==3.1", **files}).python == python


def test_conda_counts_where_there_is_no_requirements_file() -> None:
    found = read({"conda.yaml": CONDA})
    assert set(found.lines) == ALWAYS | {"mlflow-skinny==3.17.2", "xgboost==3.0.0"}
    assert found.python == "3.12"


def test_constraints_that_were_logged_with_the_model() -> None:
    files = {
        "requirements.txt": b"mlflow==3.1\n-c constraints.txt\n",
        "constraints.txt": b"protobuf<6\n# old\n",
        "python_env.yaml": ENV,
    }
    assert read(files).constraints == ("protobuf<6",)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("-e .", "is an editable requirement"),
        ("--editable=git+https://github.com/x/y", "is an editable requirement"),
        ("-r other.txt", "uses -r"),
        ("--report x", "uses --report"),
        ("-c nowhere.txt", "names nowhere.txt, which is not among the model's files"),
        ("torch @ https://example.com/torch.whl", "is a URL or a path: torch"),
        ("git+https://github.com/x/y.git@main#egg=y", "is a URL or a path: git+https://github.com/x/y.git"),
        ("./wheels/mine-1-py3-none-any.whl", "is a URL or a path"),
        ("mine-1-py3-none-any.whl", "is a URL or a path"),
        ("=== what", "is not a requirement"),
        ("foo; " + "(" * 1_500, "is not a requirement"),
        ("foo>=1" + ",>=1" * 500, "is 2006 characters long"),
    ],
)
def test_lines_that_cannot_be_locked(line: str, told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read({"requirements.txt": f"mlflow==3.1\n{line}\n".encode(), "python_env.yaml": ENV})
    assert told in refused.value.message
    assert refused.value.message.startswith("line 2 of requirements.txt of fraud-detector:7 ")
    assert "image.dockerfile" in refused.value.hint


@pytest.mark.parametrize("file", ["requirements.txt", "conda.yaml", "constraints.txt"])
def test_credentials_of_an_index_are_refused_and_not_repeated(file: str) -> None:
    files = {"requirements.txt": b"mlflow==3.1\n-c constraints.txt\n", "constraints.txt": b"", "conda.yaml": CONDA}
    files[file] += b"\n# --index-url https://__token__:s3cret-t0ken@pypi.example.com/simple\n"
    if file == "conda.yaml":
        del files["requirements.txt"]
    with pytest.raises(RefusedError, match=f"{file} of fraud-detector:7 holds a URL with a password or token") as refused:
        read(files)
    assert "s3cret" not in refused.value.message + refused.value.hint


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({"MLmodel": MLMODEL}, "does not list its requirements: it has neither requirements.txt nor conda.yaml"),
        ({"requirements.txt": b"mlflow==3.1"}, "does not say which Python it requires"),
        ({"requirements.txt": b"\xff", "python_env.yaml": ENV}, "requirements.txt of fraud-detector:7 is not UTF-8"),
        ({"requirements.txt": b"#" * (1 << 21), "python_env.yaml": ENV}, "is 2097152 bytes long"),
        ({"conda.yaml": CONDA.replace(b"- pip<=24", b"- cudatoolkit=11")}, "asks conda for cudatoolkit, which pip does not"),
    ],
)
def test_models_that_do_not_hold_enough(files: dict[str, bytes], told: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read(files)
    assert told in refused.value.message
    assert refused.value.hint


def test_conda_packages_besides_requirements_are_refused_by_name_unless_they_are_ignored() -> None:
    """As MLflow writes `conda_env={...}`: the pip part to requirements.txt as well, the rest to conda.yaml only."""
    conda = CONDA.replace(b"- pip<=24", b"- pip\n- conda-forge::LightGBM=4.5\n- libgomp >=13")
    files = {"requirements.txt": b"mlflow==3.17.2\n", "conda.yaml": conda, "python_env.yaml": ENV}
    with pytest.raises(RefusedError) as refused:
        read(files)
    assert (
        refused.value.message == "conda.yaml of fraud-detector:7 asks conda for libgomp, lightgbm, which pip does not install"
    )
    assert "image.ignore-conda: [libgomp, lightgbm]" in refused.value.hint
    version, opened = model_version(listing(files)), store(files).open
    with pytest.raises(RefusedError, match="asks conda for libgomp, which"):
        read_requirements(version, opened, ["lightgbm"])
    assert "mlflow-skinny==3.17.2" in read_requirements(version, opened, ["LightGBM", "libgomp"]).lines


def test_prereleases_and_a_byte_order_mark() -> None:
    found = read({"requirements.txt": b"\xef\xbb\xbfmlflow==3.17.2\n--pre\nxgboost\n", "python_env.yaml": ENV})
    assert found.prereleases
    assert {"mlflow-skinny==3.17.2", "xgboost"} <= set(found.lines)
    assert not read({"requirements.txt": b"mlflow==3.17.2\n", "python_env.yaml": ENV}).prereleases


@pytest.mark.parametrize("listed", ["5", "numpy", "{numpy: 1}", "[null]", "[[numpy]]"])
def test_what_conda_gives_to_pip_is_a_list_of_requirements(listed: str) -> None:
    """Of a text each letter became a package, and of an empty entry one that is named None."""
    with pytest.raises(RefusedError, match=r"`pip` in conda\.yaml of fraud-detector:7 is not a list"):
        read({"conda.yaml": f"dependencies: [{{pip: {listed}}}]".encode(), "python_env.yaml": ENV})


@pytest.mark.parametrize("version", ["2.9.", "2.9.x.y", "9" * 5_000])
def test_a_version_of_mlflow_that_is_none_is_refused(version: str) -> None:
    with pytest.raises(RefusedError, match=r"MLmodel of fraud-detector:7 is"):
        read({"requirements.txt": b"numpy", "MLmodel": f"mlflow_version: {version}\n".encode(), "python_env.yaml": ENV})


@pytest.mark.parametrize("pin", ["===2.9_x", "===2.9..1"])
def test_a_pin_that_is_no_version_is_not_one_of_a_server(pin: str) -> None:
    with pytest.raises(RefusedError, match=r"needs mlflow-skinny===2\.9.*MLflow 2\.0 or newer"):
        read({"requirements.txt": f"mlflow{pin}".encode(), "python_env.yaml": ENV})


def test_conda_file_that_is_no_yaml() -> None:
    with pytest.raises(ConfigError, match=r"conda\.yaml of fraud-detector:7:1: is not valid YAML"):
        read({"conda.yaml": b"{"})


@pytest.mark.parametrize(
    "line",
    [
        "foo@http:127.0.0.1:9/${ARGOCD_AUTH_TOKEN}/foo-1.0-py3-none-any.whl#x",
        "foo@git+http:127.0.0.1:9/x",
        "foo @ https:x",
        "foo==${ARGOCD_AUTH_TOKEN}",
        "foo ; python_version > '${HOME}'",
        "foo==1.0 bar==2.0",
    ],
)
def test_what_uv_would_fill_in_or_fetch_is_refused(line: str) -> None:
    """A registered version's text is data: uv fills in variables of the environment, and fetches what a URL names."""
    with pytest.raises(RefusedError, match=r"line 2 of requirements\.txt"):
        read({"requirements.txt": f"mlflow==3.1\n{line}\n".encode(), "python_env.yaml": ENV})


_BOMB = "a0: &a0 {k0: v}\n" + "".join(f"a{i}: &a{i} {{<<: [{','.join([f'*a{i - 1}'] * 4)}], k{i}: v}}\n" for i in range(1, 30))


@pytest.mark.parametrize(
    "files",
    [
        {"requirements.txt": b"foo" + b" " * 60_000 + b"x\n", "python_env.yaml": ENV},
        {"requirements.txt": b"foo" + b" " * 60_000 + b"--hash", "python_env.yaml": ENV},
        {"requirements.txt": b"mlflow==3.1\n", "conda.yaml": b"\n" * 60_000},
        {"requirements.txt": b"foo" + b" " * 100_000, "python_env.yaml": ENV},
    ],
    ids=["spaces", "spaces before an option", "lines", "too large"],
)
def test_text_costs_bounded_time(files: dict[str, bytes]) -> None:
    """Each took seconds to hours in a regular expression; the suite's time limit ends a test that does again."""
    with pytest.raises(RefusedError):
        read(files)


@pytest.mark.parametrize(
    ("conda", "why"),
    [
        (_BOMB, "100000 values or more"),
        ("dependencies: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a: &a [*a]", "values"),
    ],
    ids=["merge keys", "depth", "an alias of itself"],
)
def test_yaml_that_blows_up_is_refused(conda: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        read({"conda.yaml": conda.encode(), "python_env.yaml": ENV})


@pytest.mark.parametrize(
    ("line", "setuptools"),
    [
        ("mlflow==2.0.1", True),
        ("mlflow==2.16.2", True),
        ("mlflow-skinny[x]==2.9.*", True),
        ("mlflow<2.10", True),
        ("mlflow>=2.0,<=2.16.2", True),
        ("mlflow~=2.9", False),
        ("mlflow==2.17.0", False),
        ("mlflow==3.17.2", False),
        ("mlflow>=2", False),
        ("mlflow", False),
    ],
)
def test_an_old_mlflow_gets_the_setuptools_that_it_imports(line: str, setuptools: bool) -> None:
    found = read({"requirements.txt": f"{line}\n".encode(), "python_env.yaml": ENV}).lines
    assert ("setuptools<81" in found) is setuptools


def test_the_setuptools_that_a_model_asks_for_stay() -> None:
    found = read({"requirements.txt": b"mlflow==2.9.2\nsetuptools==70.0\n", "python_env.yaml": ENV}).lines
    assert [line for line in found if "setuptools" in line] == ["setuptools==70.0"]


@pytest.mark.parametrize("line", ["mlflow==1.30.1", "mlflow<2", "mlflow==1.*"])
def test_a_model_of_mlflow_1_is_refused_with_the_version_that_is_needed(line: str) -> None:
    with pytest.raises(RefusedError) as caught:
        read({"requirements.txt": f"{line}\n".encode(), "python_env.yaml": ENV})
    assert caught.value.message.endswith(
        f"needs {line.replace('mlflow', 'mlflow-skinny')}, and the inference server MLflow 2.0 or newer"
    )


def test_a_byte_order_mark_is_no_part_of_the_first_requirement() -> None:
    found = read({"requirements.txt": "\ufeffmlflow==3.1\n".encode(), "python_env.yaml": ENV}).lines
    assert "mlflow-skinny==3.1" in found
