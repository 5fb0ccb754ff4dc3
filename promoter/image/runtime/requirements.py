"""What a model asks for, read from the files that MLflow writes next to it (https://mlflow.org/docs/latest/ml/model/dependencies/)."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import InvalidRequirement, Requirement
from packaging.version import InvalidVersion, Version

from promoter.config.yaml import documents
from promoter.errors import RefusedError, UnreachableError

if TYPE_CHECKING:
    from promoter.image.layer import Open
    from promoter.models import ModelVersion

SERVING = Path(__file__).parents[2] / "serving"
"""The inference server's sources, and its requirements.txt."""

_LARGEST, _LARGEST_MLMODEL = 64 * 1024, 1 << 20  # bytes; an MLmodel has the whole signature
_LONGEST, _SHOWN = 2_000, 200  # characters of a requirement; of a line in an error
_NAME = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)\s*(\[[^\]]*\])?")
_OPTIONS = re.compile(r"\s--hash[= ]")  # what follows a requirement; the lock has hashes of its own
_LOCAL = re.compile(r"[./~]|.*\.(whl|zip|tar\.gz)(\s|$)")
# ${TOKEN} is a variable that pip fills in, not a secret.
_CREDENTIALS = re.compile(r"://(?!(?:\$\{\w+\}:?)+@)[^/\s@]+@")
_INDEX_OPTIONS = frozenset(
    {"-i", "--index-url", "--extra-index-url", "-f", "--find-links", "--no-index", "--trusted-host", "--prefer-binary"}
)
_PRERELEASES = "--pre"
# What MLflow itself asks conda for in every conda.yaml; and the name of a package (channel::name=version).
_CONDA_OWN = frozenset({"python", "pip", "setuptools", "wheel"})
_CONDA_NAME = re.compile(r"(?:[^:\s]+::)?([A-Za-z0-9_][A-Za-z0-9_.-]*)")
# python_env.yaml; conda.yaml; MLmodel, in the order in which they are believed.
_PYTHON = {
    "python_env.yaml": re.compile(r"^python:[ \t]*['\"]?(\d+\.\d+)", re.MULTILINE),
    "conda.yaml": re.compile(r"^[ \t]*-[ \t]*['\"]?python[ \t]*[=~]+[ \t]*(\d+\.\d+)", re.MULTILINE),
    "MLmodel": re.compile(r"^[ \t]+python_version:[ \t]*['\"]?(\d+\.\d+)", re.MULTILINE),
}
# MLflow before this one imports pkg_resources, which setuptools has had no more since 81.
_NEEDS_PKG_RESOURCES, _SETUPTOOLS = "2.17", "setuptools<81"
_OLDEST_MLFLOW = "2.0"  # with 2.0 the scoring protocol became what the server speaks
_RELEASES = [f"{major}.{minor}.99" for major, last in ((2, 22), (3, 60)) for minor in range(last + 1)]
_MLFLOW_VERSION = re.compile(r"^mlflow_version:[ \t]*['\"]?([\w.]+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Requirements:
    """`python` is the minor version (3.11); `lines` and `constraints` are as pip reads them (PEP 508).

    `prereleases`: the model asks for them (`--pre`).
    """

    python: str
    lines: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    prereleases: bool = False


def read_requirements(version: ModelVersion, open_file: Open, ignore_conda: Collection[str] = ()) -> Requirements:
    """The model's own requirements with MLflow slimmed to what serving needs, and those of the server and the build.

    requirements.txt counts, or the pip part of conda.yaml without it. Options that name an index are left out: where packages
    come from is the host's business. Packages of conda itself are refused unless `ignore_conda` names them.

    Raises:
        RefusedError: a line that can't be locked or would leak a credential, or no file that lists what the model needs.
        UnreachableError: a file can't be read.
    """
    files = _Files(version, open_file)
    constraints: list[str] = []
    lines = []
    prereleases = False
    _refuse_conda_packages(files, ignore_conda)
    for where, line in _model_lines(files):
        prereleases = prereleases or line == _PRERELEASES
        if file := _constraints_file(line):
            named = files.text(file)
            if named is None:
                raise _refused(where, f"names {file}, which is not among the model's files")
            constraints += [_requirement(place, text) for place, text in _logical_lines(files.where(file), named)]
        elif line != _PRERELEASES and (requirement := _requirement(where, line)):
            lines.append(requirement)
    limits = tuple(sorted(filter(None, constraints)))
    return Requirements(_python(files), _for_serving(lines, files), limits, prereleases)


@dataclass(frozen=True)
class _Files:
    version: ModelVersion
    open_file: Open

    def where(self, path: str) -> str:
        return f"{path} of {self.version.reference}"

    def text(self, path: str) -> str | None:
        """The file's text; None when the model has no such file."""
        file = next((file for file in self.version.files if file.path == path), None)
        if file is None:
            return None
        if file.size > (_LARGEST_MLMODEL if path == "MLmodel" else _LARGEST):
            raise RefusedError(f"{self.where(path)} is {file.size} bytes long", hint="log the model again")
        try:
            with self.open_file(file) as stream:
                text = b"".join(iter(lambda: stream.read(_LARGEST), b"")).decode("utf-8-sig")
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise UnreachableError(f"{self.where(path)} can't be read: {reason}", hint="run again") from None
        except UnicodeDecodeError:
            raise RefusedError(f"{self.where(path)} is not UTF-8", hint="log the model again") from None
        if _CREDENTIALS.search(text):
            raise RefusedError(
                f"{self.where(path)} holds a URL with a password or token",
                hint="everybody who can pull the image would have it: revoke it, and log the model again without",
            )
        return text


def _model_lines(files: _Files) -> Iterable[tuple[str, str]]:
    """Each line with its place."""
    text = files.text("requirements.txt")
    if text is not None:
        return _logical_lines(files.where("requirements.txt"), text)
    conda = files.text("conda.yaml")
    if conda is None:
        raise RefusedError(
            f"{files.version.reference} does not list its requirements: it has neither requirements.txt nor conda.yaml",
            hint="log it with mlflow.<flavor>.log_model, or set image.runtime to an image that can serve it",
        )
    return _conda_lines(files.where("conda.yaml"), conda)


def _conda_lines(where: str, text: str) -> Iterator[tuple[str, str]]:
    for dependency in _conda_dependencies(where, text):
        for line in _pip_lines(where, dependency.get("pip")) if isinstance(dependency, dict) else ():
            yield from _logical_lines(where, line)


def _pip_lines(where: str, listed: object) -> list[str]:
    """Raises RefusedError."""
    if listed is None:
        return []
    if not isinstance(listed, list) or not all(isinstance(line, str) for line in listed):
        raise RefusedError(f"`pip` in {where} is not a list of requirements", hint="log the model again")
    return listed


def _conda_dependencies(where: str, text: str) -> Iterable[object]:
    value = documents(text, where)
    dependencies = value[0].value.get("dependencies") if value and isinstance(value[0].value, dict) else None
    return dependencies if isinstance(dependencies, list) else ()


def _refuse_conda_packages(files: _Files, ignored: Collection[str]) -> None:
    """Packages that conda would install: MLflow writes them to conda.yaml only, and requirements.txt looks complete without.

    Raises:
        RefusedError: there are such packages, and they are not `ignored`.
    """
    where = files.where("conda.yaml")
    asked = [str(one) for one in _conda_dependencies(where, files.text("conda.yaml") or "") if not isinstance(one, dict)]
    names = [match[1].lower() for text in asked if (match := _CONDA_NAME.match(text.strip()))]
    if refused := sorted({*names} - _CONDA_OWN - {name.lower() for name in ignored}):
        raise RefusedError(
            f"{where} asks conda for {', '.join(refused)}, which pip does not install",
            hint="log it with pip requirements that include them; if the model works without, or image.base has them: "
            f"image.ignore-conda: [{', '.join(refused)}]",
        )


def _logical_lines(where: str, text: str) -> Iterator[tuple[str, str]]:
    """What is left without comments and continuations; the place of a line is that of its start."""
    joined, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        start = start if joined else number
        if line.endswith("\\"):
            joined += line[:-1] + " "
            continue
        stripped = re.sub(r"(^|\s)#.*", "", joined + line).strip()
        joined = ""
        if stripped:
            yield f"line {start} of {where}", stripped


def _constraints_file(line: str) -> str | None:
    match = re.fullmatch(r"(?:-c|--constraint)(?:\s+|=)(\S+)", line)
    return match[1] if match else None


def _requirement(where: str, line: str) -> str:
    """The line as it goes into the lock; "" for an option that names an index.

    Whoever may register a version writes it, so it is data: uv would fill in variables, and fetch what a URL names.

    Raises:
        RefusedError: it is not `name[extras] specifier ; marker` (PEP 508), without a URL and without a variable.
    """
    if line.startswith("-"):
        option = re.split(r"[\s=]", line, maxsplit=1)[0]
        if option in _INDEX_OPTIONS:
            return ""
        what = "is an editable requirement" if option in ("-e", "--editable") else f"uses {option}"
        raise _refused(where, what)
    if "://" in line or " @ " in line or _LOCAL.match(line):
        raise _refused(where, f"is a URL or a path: {line.partition(' @ ')[0].partition('?')[0]}")
    text = _OPTIONS.split(line, maxsplit=1)[0].strip()
    if len(text) > _LONGEST:
        raise _refused(where, f"is {len(text)} characters long")
    try:
        parsed = Requirement(text)
    except (InvalidRequirement, RecursionError):
        raise _refused(where, f"is not a requirement: {line[:_SHOWN]}") from None
    if parsed.url is not None:
        raise _refused(where, f"is a URL or a path: {parsed.name}")
    if "$" in text:
        raise _refused(where, f"contains a variable: {parsed.name}")
    return text


def _refused(
    where: str, what: str, instead: str = "publish the package to your index, and log the model with name==version"
) -> RefusedError:
    return RefusedError(f"{where} {what}, which can't be locked", hint=f"{instead}; or build with image.dockerfile")


def _python(files: _Files) -> str:
    for path, pattern in _PYTHON.items():
        if match := pattern.search(files.text(path) or ""):
            return match[1]
    raise RefusedError(
        f"{files.version.reference} does not say which Python it requires: {', '.join(_PYTHON)} name none",
        hint="log the model again, or set image.runtime to an image that can serve it",
    )


def _for_serving(lines: Iterable[str], files: _Files) -> tuple[str, ...]:
    """With mlflow-skinny in the place of mlflow: what a server never uses is most of it (850 MB against 140)."""
    wanted = [_NAME.sub(r"mlflow-skinny\2", line, count=1) if _named(line) == "mlflow" else line for line in lines]
    names = {_named(line) for line in wanted}
    if "mlflow-skinny" not in names:
        match = _MLFLOW_VERSION.search(files.text("MLmodel") or "")
        wanted.append(_requirement(files.where("MLmodel"), f"mlflow-skinny=={match[1]}") if match else "mlflow-skinny")
    wanted += _for_old_mlflow(next(line for line in wanted if _named(line) == "mlflow-skinny"), names, files)
    # mlflow.pyfunc imports both, mlflow-skinny asks for neither; pip installs the rest, and goes when it has.
    wanted += [name for name in ("numpy", "pandas", "pip") if name not in names]
    serving = SERVING / "requirements.txt"
    wanted += [line for _, line in _logical_lines(serving.name, serving.read_text())]
    return tuple(sorted(set(wanted)))


def _for_old_mlflow(line: str, names: Collection[str], files: _Files) -> list[str]:
    """What an MLflow that may be as old as this line allows needs in addition.

    Raises:
        RefusedError: no MLflow that the server works with is allowed.
    """
    allowed = [Version(release) for release in _RELEASES if Requirement(line).specifier.contains(release)]
    pinned = re.search(r"={2,3}\s*(\d[\w.]*\w)", line)
    newest = max([*allowed, *_versions(pinned[1] if pinned else "")], default=None)
    if newest is None or newest < Version(_OLDEST_MLFLOW):
        raise RefusedError(
            f"{files.version.reference} needs {line}, and the inference server MLflow {_OLDEST_MLFLOW} or newer",
            hint="load it with its own MLflow and log it with a newer one, or set image.runtime to an image that serves it",
        )
    return [_SETUPTOOLS] if newest < Version(_NEEDS_PKG_RESOURCES) and "setuptools" not in names else []


def _versions(text: str) -> list[Version]:
    try:
        return [Version(text)]
    except InvalidVersion:
        return []


def _named(line: str) -> str:
    match = _NAME.match(line)
    return re.sub(r"[-_.]+", "-", match[1]).lower() if match else ""
