"""How to reach MLflow: the environment variables that MLflow's own client reads, read in the same order of precedence."""

from __future__ import annotations

import configparser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from promoter.errors import UsageError
from promoter.machine.home import home
from promoter.model_registry.sources import Sources
from promoter.models import MOST_FILES
from promoter.transport.boundary import whole_number
from promoter.transport.credential import PLAIN_HTTP, Credential, origins
from promoter.transport.session import Limits

_BIND = "set MLFLOW_TRACKING_URI in the environment, next to the credential: an address in promoter.yaml gets none"
_WORKSPACE = "/providers/Microsoft.MachineLearningServices/workspaces/"
_TRUE, _FALSE = {"true", "1"}, {"false", "0", ""}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where MLflow is and how to speak to it.

    `registry_uri` is None if only MLFLOW_TRACKING_URI is set. `credential` is for the addresses that the environment
    names; `sent` describes it in words. `plugin` names what only MLflow's own client can do. `plain_http` lists the
    hosts that credentials go to without TLS. `most_files`: what a model version may have, and as many folders.
    """

    tracking_uri: str
    registry_uri: str | None = None
    credential: Credential | None = None
    sent: str = "no credentials were sent"
    verify: bool | str = True
    cert: str | None = None
    workspace: str | None = None
    plugin: str | None = None
    limits: Limits = field(default_factory=Limits)
    sources: Sources = field(default_factory=Sources)
    plain_http: str = ""
    most_files: int = MOST_FILES

    @property
    def rest(self) -> bool:
        """Whether MLflow's REST API is what these settings lead to."""
        uris = (self.tracking_uri, self.registry_uri or self.tracking_uri)
        return self.plugin is None and all(urlsplit(uri).scheme in ("http", "https") for uri in uris)

    def login(self, uri: str) -> tuple[str, Credential | None]:
        """The URI without `user:password@`, and what to send there: that user and password, which are for this place alone,
        or else `credential`.
        """
        parts = urlsplit(uri)
        if parts.username is None:
            return uri, self.credential
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
        username, password = unquote(parts.username), unquote(parts.password or "")
        return plain, Credential(password, origins([plain], self.plain_http), username, f"the password in the address {plain}")


def read(environ: Mapping[str, str], *, tracking_uri: str | None = None, sources: Sequence[str] = ()) -> Settings:
    """The settings of this environment; `tracking_uri` is used where the environment names none, and gets no credentials then.

    `sources`: where model files may be, apart from the tracking server.

    Raises:
        UsageError: no address at all, or a variable with a value that can't be used.
    """
    tracking = workspace_address(environ.get("MLFLOW_TRACKING_URI") or tracking_uri or "")
    registry = workspace_address(environ.get("MLFLOW_REGISTRY_URI", "")) or None
    if not (tracking or registry):
        raise UsageError("MLflow is not configured", hint="set MLFLOW_TRACKING_URI, or the tracking URI in promoter.yaml")
    if tracking and tracking.startswith("databricks-uc"):
        # Unity Catalog holds models only; the workspace of the same profile holds their runs.
        registry, tracking = registry or tracking, tracking.replace("databricks-uc", "databricks", 1)
    named = [environ.get("MLFLOW_TRACKING_URI", ""), environ.get("MLFLOW_REGISTRY_URI", "")]
    plain_http = environ.get(PLAIN_HTTP, "")
    credential, sent = _credential(environ, origins([uri.replace("azureml://", "https://", 1) for uri in named], plain_http))
    plugin = _plugin(environ)
    if plugin and not any(named):
        raise UsageError(
            f"{plugin} is set, and MLflow's address is not from the environment: no credentials are sent there",
            hint=f"set MLFLOW_TRACKING_URI={tracking_uri}",
        )
    return Settings(
        tracking_uri=tracking or registry or "",
        registry_uri=registry,
        credential=credential,
        sent=sent,
        verify=_verify(environ),
        cert=_file(environ, "MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        workspace=environ.get("MLFLOW_WORKSPACE", "").strip() or None,
        plugin=plugin,
        limits=_limits(environ),
        sources=Sources(tuple(sources), everywhere=any(named) and all(map(_is_here, filter(None, named)))),
        plain_http=plain_http,
    )


def workspace_address(uri: str) -> str:
    """The address of a workspace of Azure Machine Learning as its plug-in for MLflow wants it; any other one as it is."""
    return uri.replace("https://", "azureml://", 1) if _WORKSPACE in uri else uri


def is_workspace(uri: str) -> bool:
    """Whether it is an address of Azure Machine Learning, of a workspace or of files in one."""
    return urlsplit(uri).scheme == "azureml"


def _is_here(uri: str) -> bool:
    """Whether it is a store of this machine: a SQLite file, or a folder."""
    return urlsplit(uri).scheme in ("", "file", "sqlite")


def _credential(environ: Mapping[str, str], where: frozenset[str]) -> tuple[Credential | None, str]:
    """User name with password win over a token, as in MLflow's Python client."""
    file = _credentials_file(environ)
    username = environ.get("MLFLOW_TRACKING_USERNAME") or file.get("mlflow_tracking_username")
    password = environ.get("MLFLOW_TRACKING_PASSWORD") or file.get("mlflow_tracking_password")
    if username and password:
        return Credential(password, where, username, "MLflow's password", _BIND), f"user {username} with a password was sent"
    if token := environ.get("MLFLOW_TRACKING_TOKEN"):
        return Credential(token, where, None, "MLFLOW_TRACKING_TOKEN", _BIND), "MLFLOW_TRACKING_TOKEN was sent"
    return None, "no credentials were sent"


def _credentials_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    path = home(environ) / ".mlflow" / "credentials"
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        # The parser's own message would show the line, which may hold the password.
        raise UsageError(f"{path} is not an INI file", hint="it needs a section [mlflow], as MLflow's manual shows") from None
    return parser["mlflow"] if parser.has_section("mlflow") else {}


def _verify(environ: Mapping[str, str]) -> bool | str:
    insecure = environ.get("MLFLOW_TRACKING_INSECURE_TLS", "").strip().lower()
    if insecure not in _TRUE | _FALSE:
        raise UsageError(f"MLFLOW_TRACKING_INSECURE_TLS is {insecure!r}", hint="set it to true or false")
    bundle = _file(environ, "MLFLOW_TRACKING_SERVER_CERT_PATH")
    if insecure in _TRUE and bundle:
        raise UsageError(
            "MLFLOW_TRACKING_INSECURE_TLS and MLFLOW_TRACKING_SERVER_CERT_PATH exclude each other",
            hint="keep the CA bundle, and unset MLFLOW_TRACKING_INSECURE_TLS",
        )
    return bundle or insecure not in _TRUE


def _file(environ: Mapping[str, str], variable: str) -> str | None:
    path = environ.get(variable) or None
    if path and not Path(path).exists():
        raise UsageError(f"{variable} names {path}, which does not exist", hint="give the path of a PEM file")
    return path


def _plugin(environ: Mapping[str, str]) -> str | None:
    """Authentication that MLflow's client loads a package for, so that the REST API can't be spoken without it."""
    if environ.get("MLFLOW_TRACKING_AUTH"):
        return "MLFLOW_TRACKING_AUTH"
    return "MLFLOW_TRACKING_AWS_SIGV4" if environ.get("MLFLOW_TRACKING_AWS_SIGV4", "").strip().lower() in _TRUE else None


def _limits(environ: Mapping[str, str]) -> Limits:
    seconds = environ.get("MLFLOW_HTTP_REQUEST_TIMEOUT")
    if not seconds:
        return Limits()
    if not whole_number(seconds):
        raise UsageError(f"MLFLOW_HTTP_REQUEST_TIMEOUT is {seconds!r}", hint="give whole seconds")
    return Limits(read=float(seconds))
