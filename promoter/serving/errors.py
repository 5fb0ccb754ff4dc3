"""What can go wrong, as values that are shown to people.

SettingsError    the environment can't be used: exit code 2
StartError       the model can't be served: exit code 1
RequestError     one request can't be answered: an HTTP status with JSON
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence


class SettingsError(Exception):
    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("the server can't start with these settings: " + "; ".join(problems))


class StartError(Exception):
    """The message says what is wrong with the model and where it lies."""


class RequestError(Exception):
    """`field` is the input that is wrong and `expected` what the signature says of it, where one can be named.

    `logged` is for the log alone: where a model broke.
    """

    def __init__(
        self, status: int, message: str, *, field: str = "", expected: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.expected = status, message, field, expected
        self.headers = headers
        self.logged: Mapping[str, object] = {}

    @classmethod
    def told(cls, status: int, body: Mapping[str, str], logged: Mapping[str, object]) -> RequestError:
        """An error that another process has told of, by its `body`."""
        error = cls(status, body["error"], field=body.get("field", ""), expected=body.get("expected", ""))
        error.logged = logged
        return error

    def body(self) -> dict[str, str]:
        """The JSON that the client gets."""
        told = {"error": self.message, "field": self.field, "expected": self.expected}
        return {key: value for key, value in told.items() if value}
