"""How to reach MLflow: the environment variables that MLflow's own client reads, read in the same order of precedence."""

from __future__ import annotations

import base64
import configparser
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from promoter.errors import UsageError
from promoter.session import Limits

_TRUE, _FALSE = {"true", "1"}, {"false", "0", ""}


@dataclass(frozen=True, slots=True)
class Settings:
    """Where MLflow is and how to speak to it.

    `registry_uri` is None where MLFLOW_TRACKING_URI alone decides. `authorization` is the value of that header;
    `sent` says in words which credentials it came from. `plugin` names what only MLflow's own client can do.
    """

    tracking_uri: str
    registry_uri: str | None = None
    authorization: str | None = None
    sent: str = "no credentials were sent"
    verify: bool | str = True
    cert: str | None = None
    workspace: str | None = None
    plugin: str | None = None
    limits: Limits = field(default_factory=Limits)

    @property
    def rest(self) -> bool:
        """Whether MLflow's REST API is what these settings lead to."""
        uris = (self.tracking_uri, self.registry_uri or self.tracking_uri)
        return self.plugin is None and all(urlsplit(uri).scheme in ("http", "https") for uri in uris)


def read(environ: Mapping[str, str], *, tracking_uri: str | None = None) -> Settings:
    """The settings of this environment; `tracking_uri` is used where the environment names none.

    Raises:
        UsageError: no address at all, or a variable with a value that can't be used.
    """
    tracking = environ.get("MLFLOW_TRACKING_URI") or tracking_uri
    registry = environ.get("MLFLOW_REGISTRY_URI") or None
    if not (tracking or registry):
        raise UsageError("MLflow is not configured", hint="set MLFLOW_TRACKING_URI, or the tracking URI in promoter.yaml")
    if tracking and tracking.startswith("databricks-uc"):
        # Unity Catalog holds models only; the workspace of the same profile holds their runs.
        registry, tracking = registry or tracking, tracking.replace("databricks-uc", "databricks", 1)
    authorization, sent = _authorization(environ)
    return Settings(
        tracking_uri=tracking or registry or "",
        registry_uri=registry,
        authorization=authorization,
        sent=sent,
        verify=_verify(environ),
        cert=_file(environ, "MLFLOW_TRACKING_CLIENT_CERT_PATH"),
        workspace=environ.get("MLFLOW_WORKSPACE", "").strip() or None,
        plugin=_plugin(environ),
        limits=_limits(environ),
    )


def split_userinfo(uri: str) -> tuple[str, str | None]:
    """The URI without `user:password@`, and the Authorization header that this part asks for."""
    parts = urlsplit(uri)
    if parts.username is None:
        return uri, None
    _, _, host = parts.netloc.rpartition("@")
    return parts._replace(netloc=host).geturl(), _basic(unquote(parts.username), unquote(parts.password or ""))


def _authorization(environ: Mapping[str, str]) -> tuple[str | None, str]:
    """User name with password win over a token, as in MLflow's Python client."""
    file = _credentials_file(environ)
    username = environ.get("MLFLOW_TRACKING_USERNAME") or file.get("mlflow_tracking_username")
    password = environ.get("MLFLOW_TRACKING_PASSWORD") or file.get("mlflow_tracking_password")
    if username and password:
        return _basic(username, password), f"user {username} with a password was sent"
    token = environ.get("MLFLOW_TRACKING_TOKEN")
    return (f"Bearer {token}", "MLFLOW_TRACKING_TOKEN was sent") if token else (None, "no credentials were sent")


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def _credentials_file(environ: Mapping[str, str]) -> Mapping[str, str]:
    path = Path(environ.get("HOME") or Path.home()) / ".mlflow" / "credentials"
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
    if not seconds.isdigit() or int(seconds) == 0:
        raise UsageError(f"MLFLOW_HTTP_REQUEST_TIMEOUT is {seconds!r}", hint="give whole seconds")
    return Limits(read=float(seconds))
