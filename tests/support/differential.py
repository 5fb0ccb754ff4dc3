"""Random requests for a model, and what MLflow's scoring server and promoter's make of each.

The models answer with what they were given, type by type: two servers that read a request differently can't answer the same.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from promoter.serving.errors import RequestError
from promoter.serving.model import PyfuncModel, Request
from tests.support.serving import pyfunc_model, quiet

JSON = "application/json"
CSV = "text/csv"

ECHO = """
from typing import Any

import mlflow.models
import mlflow.pyfunc
import numpy as np
import pandas as pd


def told(value: Any) -> str:
    if isinstance(value, pd.DataFrame):
        columns = [f"{name}: {kind}" for name, kind in value.dtypes.items()]
        rows = [[f"{type(one).__name__} {one!r}" for one in row] for row in value.itertuples()]
        return f"table {columns} {rows}"
    if isinstance(value, pd.Series):
        return f"series {value.dtype} {value.tolist()}"
    if isinstance(value, np.ndarray):
        return f"array {value.dtype} {value.shape} {value.tolist()}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {told(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(told(one) for one in value) + "]"
    return f"{type(value).__name__} {value!r}"


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [told(model_input), told(params)]


mlflow.models.set_model(Echo())
"""


def table_model(folder: Path) -> Path:
    """Columns of every type, some of them optional, and parameters."""
    with quiet():
        import pandas as pd
        from mlflow.models import ModelSignature
        from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema

        inputs = Schema([ColSpec(kind, name, required=required) for name, (kind, required) in COLUMNS.items()])
        params = ParamSchema([ParamSpec("percent", "double", 100.0), ParamSpec("note", "string", "")])
        example = pd.DataFrame(
            {"amount": [1.5], "count": [2], "name": ["ada"], "ok": [True], "day": pd.to_datetime(["2026-01-05"])}
        )
        example["small"] = example["count"].astype("int32")
        example["ratio"] = example["amount"].astype("float32")
        return pyfunc_model(folder, ECHO, ModelSignature(inputs=inputs, params=params), example)


def tensor_model(folder: Path) -> Path:
    with quiet():
        import numpy as np
        from mlflow.models import ModelSignature
        from mlflow.types import Schema, TensorSpec

        signature = ModelSignature(inputs=Schema([TensorSpec(np.dtype("float64"), (-1, 2))]))
        return pyfunc_model(folder, ECHO, signature, np.array([[1.0, 2.0]]))


def bare_model(folder: Path) -> Path:
    """Without a signature."""
    with quiet():
        return pyfunc_model(folder, ECHO, None, None)


MODELS = {"table": table_model, "tensor": tensor_model, "bare": bare_model}
COLUMNS: Mapping[str, tuple[str, bool]] = {
    "amount": ("double", True),
    "count": ("long", True),
    "name": ("string", False),
    "ok": ("boolean", False),
    "day": ("datetime", False),
    "small": ("integer", False),
    "ratio": ("float", False),
}
_FITTING: Mapping[str, Sequence[Any]] = {
    "double": (0.0, -0.0, 1.5, 1e300, 5e-324, 2, -7, 2**53 + 1, 0.1),
    "float": (0.0, 0.5, -1.25, 3, 16777217),
    "long": (0, 1, -1, 2**31, 2**63 - 1, -(2**63)),
    "integer": (0, 5, -5, 2**31 - 1, -(2**31)),
    "string": ("", "ada", "ä\u2028", "1", "null", "NaN", "2026-03-07", "\U0001f600", "true"),
    "boolean": (True, False),
    "datetime": ("2026-03-07", "2026-03-07T10:00:00", "2026-03-07T10:00:00.123456", "1969-12-31 23:59:59"),
}
_ODD: Sequence[Any] = (
    *(None, True, False, 0, 1, 1.0, 1.5, "1", "1.5", "x", "", "no day", [], [1], {}, {"a": 1}, float("nan"), float("inf")),
    *(
        2**31,
        2**63,
        2**64,
        10**30,
        1e39,
        "2026-03-07",
        "2026-03-07T10:00:00Z",
        "2026-03-07T10:00:00+02:00",
        "10:00",
        1772841600,
    ),
)
_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs")


@dataclass(frozen=True, slots=True)
class Case:
    """One request."""

    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is there where the status is 200."""

    status: int
    text: str = ""


def cases(seed: int, count: int, model: str) -> Iterator[Case]:
    """As many requests, the same for the same seed: most of them right, the others wrong in one or two ways."""
    chance = random.Random(f"{model}-{seed}")
    for _ in range(count):
        yield _mangled(chance, _csv(chance) if model == "table" and chance.random() < 0.1 else _json(chance, model))


def theirs(model: Any, case: Case) -> Answer:
    """What MLflow's server answers: what its handler returns or raises, as its routes turn that into a status."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.scoring_server import invocations

    try:
        answer = invocations(case.body, case.content_type, model, model.metadata.get_input_schema())
    except MlflowException as error:
        return Answer(error.get_http_status_code())
    except Exception:
        return Answer(500)
    return Answer(answer.status, answer.response if answer.status == 200 else "")


def ours(model: PyfuncModel, case: Case) -> Answer:
    try:
        decoded = model.decode(Request(case.body, case.content_type))
        return Answer(200, model.encode(model.predict(decoded), decoded).decode())
    except RequestError as error:
        return Answer(error.status)


def differences(model: str, folder: Path, seed: int, count: int) -> Iterator[str]:
    """What the two servers answered differently without a reason in `ALLOWED`, each as a text with its request."""
    made = MODELS[model](folder)
    with quiet(), _silent():
        import mlflow.pyfunc

        from promoter.serving.model import load_pyfunc

        their, our = mlflow.pyfunc.load_model(str(made)), load_pyfunc(made, 10**6, lambda _: None)
        for case in cases(seed, count, model):
            wanted, got = theirs(their, case), ours(our, case)
            if wanted != got and not any(allows(case, wanted) for allows in ALLOWED.values()):
                yield f"{model}, seed {seed}: {case}\n  MLflow: {wanted}\n  promoter: {got}"


@contextmanager
def _silent() -> Iterator[None]:
    """MLflow logs a warning for most odd requests."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)


def _spelt_otherwise(case: Case, wanted: Answer) -> bool:
    return wanted.status == 415 and case.content_type != case.content_type.lower()


ALLOWED = {"the name of a media type is the same in any case (RFC 9110, 8.3.1); MLflow takes lower case only": _spelt_otherwise}
"""Where promoter's server is right to answer otherwise, and why."""


# -- how requests are made ------------------------------------------------------------------------------------------------


def _json(chance: random.Random, model: str) -> Case:
    form = chance.choice(_FORMS)
    document: dict[str, Any] = {form: _tensor(chance, form) if model == "tensor" else _table(chance, form)}
    if chance.random() < 0.15:
        document["params"] = chance.choice(
            [{}, {"percent": 50}, {"percent": "much"}, {"note": "x"}, {"note": 1}, {"other": 1}, None, [], {"percent": None}]
        )
    if chance.random() < 0.03:
        document[chance.choice([*_FORMS, "messages", "more", "prompt", "input"])] = chance.choice([[], {}, "x", [[1.0, 2.0]]])
    if chance.random() < 0.02:
        return Case(json.dumps(chance.choice([[], document[form], "x", 1, None, {}])).encode(), JSON)
    return Case(json.dumps(document, ensure_ascii=chance.random() < 0.5).encode("utf-8", "surrogatepass"), JSON)


def _table(chance: random.Random, form: str) -> Any:
    names = _names(chance)
    rows = [[_value(chance, name) for name in names] for _ in range(chance.choice([0, 1, 1, 1, 2, 2, 3, 5]))]
    if form == "dataframe_split":
        return _split(chance, names, rows)
    records = [dict(zip(names, row, strict=True)) for row in rows]
    if records and chance.random() < 0.05:
        records[-1].popitem()
    if form == "dataframe_records" or chance.random() < 0.4:
        return records if chance.random() < 0.97 else rows
    if chance.random() < 0.1:
        return chance.choice([rows, records[:1] and records[0], "x", 1, None, []])
    return {
        name: [row[at] for row in rows] if chance.random() < 0.97 else _value(chance, name) for at, name in enumerate(names)
    }


def _names(chance: random.Random) -> list[str]:
    names = [name for name, (_, required) in COLUMNS.items() if required or chance.random() < 0.6]
    if chance.random() < 0.1:
        chance.shuffle(names)
    if chance.random() < 0.04:
        names.remove(chance.choice(names))
    if chance.random() < 0.06:
        names.insert(chance.randrange(len(names) + 1), chance.choice(["more", "", "0", "Amount"]))
    return names


def _split(chance: random.Random, names: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    split: dict[str, Any] = {"columns": names, "data": rows}
    if chance.random() < 0.1:
        split["index"] = chance.choice([list(range(len(rows))), [7] * len(rows), ["a"] * len(rows), [1]])
    if chance.random() < 0.04:
        del split[chance.choice(sorted(split))]
    if rows and chance.random() < 0.04:
        rows[-1] = rows[-1][:-1]
    return split


def _value(chance: random.Random, name: str) -> Any:
    kind, required = COLUMNS.get(name, ("double", True))
    if chance.random() < (0.01 if required else 0.08):
        return None
    return chance.choice(_ODD if chance.random() < 0.03 else _FITTING[kind])


def _tensor(chance: random.Random, form: str) -> Any:
    width = chance.choice([2, 2, 2, 2, 1, 3])
    numbers = (0.0, 1.0, -1.5, 2, 1e300, 7)
    rows: list[Any] = [
        [chance.choice(_ODD if chance.random() < 0.02 else numbers) for _ in range(width)]
        for _ in range(chance.choice([0, 1, 1, 2, 3]))
    ]
    if form == "dataframe_split":
        return {"columns": [0, 1][:width], "data": rows}
    if form == "dataframe_records":
        return [dict(zip("ab", row, strict=False)) for row in rows]
    return chance.choice([rows, rows, rows, rows, {"x": rows}, rows[0] if rows else [], [rows], 1.0])


def _csv(chance: random.Random) -> Case:
    names = [name for name, (_, required) in COLUMNS.items() if required or chance.random() < 0.5]
    lines = [",".join(names)]
    for _ in range(chance.choice([0, 1, 2, 3])):
        values = (_value(chance, name) for name in names)
        lines.append(",".join("" if value is None else str(value) for value in values))
    return Case("\n".join([*lines, ""]).encode("utf-8", "surrogatepass"), CSV)


def _mangled(chance: random.Random, case: Case) -> Case:
    body, kind = case.body, case.content_type
    if body and chance.random() < 0.03:
        at = chance.randrange(len(body))
        middle = chance.choice([b"", b"\x00", b"\xff", b'"', b",", b"NaN", b"//", b"\xef\xbb\xbf", b"\\u0000", b"[" * 100])
        body = body[:at] + middle + body[at + chance.choice([0, 1]) :]
    if chance.random() < 0.02:
        body = chance.choice([b"", b"\xef\xbb\xbf" + body, b" \n" + body + b"\n", body[:-1]])
    if chance.random() < 0.02:
        changed = (
            f"{kind}; charset=utf-8",
            f"{kind}; charset=latin-1",
            f"{kind};x=1",
            "text/plain",
            kind.upper(),
            "",
            f" {kind} ",
        )
        kind = chance.choice(changed)
    return Case(body, kind)
