"""What MLflow's client, its plug-ins and the storage libraries below them raise, as our errors.

mlflow is imported here only when the first question is asked: it takes seconds.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from promoter.errors import AuthError, UnreachableError, UsageError
from promoter.machine.extras import install
from promoter.model_registry.settings import is_workspace
from promoter.model_registry.store import NotFound
from promoter.transport.boundary import ODD, unlike

# MLflow reads its settings from the process's environment, and by default asks again for minutes before it gives up.
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
_PACKAGES = (
    "install boto3 for s3:, google-cloud-storage for gs:, azure-storage-blob for wasbs:, "
    "azure-storage-file-datalake for abfss:, mlflow for a database"
)
_CREDENTIALS = "set the credentials that this address needs (MLFLOW_TRACKING_TOKEN, DATABRICKS_TOKEN, ...)"
_AZURE = (
    "set MLFLOW_TRACKING_TOKEN to a new token of Entra ID; or unset it, and set AZURE_CLIENT_ID and the like, or use `az login`"
)
_NOT_FOUND = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
# Azure Machine Learning's own words: in answers without a code of MLflow's, and for parts of the API that it does not have.
_DENIED = re.compile(r"'(Authorization|Authentication)Error'|'Forbidden'", re.IGNORECASE)
_NO_SUCH_API = "ENDPOINT_NOT_FOUND"
_AUTH = ("PERMISSION_DENIED", "UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED")
_QUERY = re.compile(r"(?<=[^\s?])\?[^\s'\"]*=[^\s'\"]*")
# What the storage libraries below MLflow raise as it is; none of them can be imported to name its classes.
_STORAGE = ("sqlalchemy", "botocore", "boto3", "azure", "google", "databricks", "requests", "urllib3", "paramiko")


@contextmanager
def mlflow_errors(where: str) -> Iterator[None]:
    """Imports and runs mlflow quietly and impatiently; what it raises becomes our errors, which name `where`.

    Raises:
        NotFound, AuthError, UnreachableError: by MLflow's error code.
        UsageError: a package is missing that this address needs, or MLflow can't use the address.
    """
    for variable, value in _SETTINGS.items():
        os.environ.setdefault(variable, value)
    with warnings.catch_warnings():
        # Its deprecation warnings are for its developers and callers; promoter's users can't act on them.
        warnings.simplefilter("ignore")
        try:
            from mlflow.exceptions import MlflowException
        except ImportError as error:
            hint = f"{install('mlflow')}, or mlflow itself for a database; http and https need neither"
            raise UsageError(f"{where} needs MLflow's client: {error}", hint=hint) from None
        try:
            yield
        except MlflowException as error:
            raise _translated(where, error.error_code, str(error.message)) from None
        except ImportError as error:
            hint = "pip install azureml-mlflow" if is_workspace(where) else _PACKAGES
            raise UsageError(f"{where} needs a package that is missing: {error}", hint=hint) from None
        except ODD as error:
            raise unlike("MLflow", where, f"{type(error).__name__}: {_line(str(error))}") from error
        except Exception as error:
            if type(error).__module__.partition(".")[0] not in _STORAGE:
                raise
            if is_workspace(where) and type(error).__name__ in ("ClientAuthenticationError", "CredentialUnavailableError"):
                raise AuthError(f"{where} does not let us read it: {_line(str(error))}", hint=_AZURE) from None
            raise UnreachableError(
                f"{where} can't be read: {_line(str(error))}", hint="check its address, its credentials and the network"
            ) from None


def _translated(where: str, code: str, message: str) -> Exception:
    line = f"MLflow at {where}: {_line(message)}"
    azure = is_workspace(where)
    if code in _NOT_FOUND or (azure and code == _NO_SUCH_API):
        return NotFound(line)
    if code in _AUTH or " 401" in line or " 403" in line or (azure and _DENIED.search(line)):
        return AuthError(line, hint=_AZURE if azure else _CREDENTIALS)
    return UnreachableError(line, hint="check the address, and that it can be reached from here")


def _line(message: str) -> str:
    """The first line, with the last if the first only introduces it, as for a download. Signed URLs are cut."""
    first, *rest = message.strip().splitlines() or [""]
    line = f"{first} {rest[-1]}" if rest and first.endswith(":") else first
    return _QUERY.sub("", line)
