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
    """The message names the fault in the model and the model's path."""


class RequestError(Exception):
    """`field` is the invalid input and `expected` what the signature requires of it, if a single input is to blame.

    `logged` goes to the log only: the place at which a model failed.
    """

    def __init__(
        self, status: int, message: str, *, field: str = "", expected: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.field, self.expected = status, message, field, expected
        self.headers = headers
        self.logged: Mapping[str, object] = {}

    @classmethod
    def received(cls, status: int, body: Mapping[str, str], logged: Mapping[str, object]) -> RequestError:
        """An error that a model process reported; `body` is what its `body()` returned."""
        error = cls(status, body["error"], field=body.get("field", ""), expected=body.get("expected", ""))
        error.logged = logged
        return error

    def body(self) -> dict[str, str]:
        """The JSON for the client."""
        fields = {"error": self.message, "field": self.field, "expected": self.expected}
        return {key: value for key, value in fields.items() if value}
