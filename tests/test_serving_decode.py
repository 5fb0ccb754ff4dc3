"""The server's own parser against MLflow's: what the model is given must be the same, to the last bit, and so what is refused."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from promoter.serving.columns import Columns
from promoter.serving.decode import CSV, JSON, PARQUET, Decoder
from promoter.serving.errors import RequestError

pytest.importorskip("mlflow.pyfunc", reason="the full mlflow is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::RuntimeWarning")

FORMS = ("dataframe_split", "dataframe_records", "inputs", "instances")
INT32, INT64 = st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.just(-0.0)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
USUAL: dict[str, st.SearchStrategy[Any]] = {
    "double": FLOATS | INT64 | st.none(),
    "float": st.floats(width=32, allow_nan=False, allow_infinity=False) | FLOATS | st.none(),
    "long": INT64,
    "integer": INT32,
    "boolean": st.booleans(),
    "string": TEXT,
}
ODD: st.SearchStrategy[object] = st.sampled_from(
    [
        None,
        "",
        "1.5",
        " 2 ",
        "1_0",
        "nan",
        "a\0",
        True,
        -1,
        2**31,
        2**63,
        2**64,
        10**30,
        1.5,
        1e300,
        math.nan,
        math.inf,
        [],
        [1.0],
        {},
        "\ud800",
    ]
)


class Metadata:
    """The part of MLflow's Model that reading a request needs."""

    def __init__(self, kinds: list[str], required: bool) -> None:
        from mlflow.types import ColSpec, Schema

        self.schema = Schema([ColSpec(kind, f"c{place}", required=required) for place, kind in enumerate(kinds)])

    def get_input_schema(self) -> Any:
        return self.schema

    def get_params_schema(self) -> None:
        return None


@st.composite
def tables(draw: st.DrawFn, odd: bool) -> tuple[list[str], list[list[Any]]]:
    """Types of columns, and rows of values that fit them; with `odd` some that do not."""
    kinds = draw(st.lists(st.sampled_from([*USUAL, "double"]), min_size=1, max_size=4))
    if draw(st.booleans()):
        kinds = ["double"] * len(kinds)
    cells = [USUAL[kind] | ODD if odd else USUAL[kind] for kind in kinds]
    return kinds, draw(st.lists(st.tuples(*cells).map(list), min_size=1, max_size=4))


def request_of(form: str, names: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    records = [dict(zip(names, row, strict=True)) for row in rows]
    if form == "dataframe_split":
        return {form: {"columns": names, "data": rows}}
    if form == "inputs":
        return {form: {name: [row[place] for row in rows] for place, name in enumerate(names)}}
    return {form: records}


def given_to_the_model(metadata: Metadata, read: Any) -> str | None:
    """All that a model can see of its input, or None if it is refused."""
    from mlflow.models.utils import _enforce_schema

    try:
        frame = _enforce_schema(read().data, metadata.schema)
    except Exception:
        return None
    return repr((list(frame.dtypes), frame.index, list(frame.columns), frame.to_dict("list")))


def read_both_ways(metadata: Metadata, document: dict[str, Any]) -> tuple[str, str] | None:
    """What the model gets by the fast way and by MLflow's; None when the request is left to MLflow."""
    decoder, body = Decoder(metadata, 1000), json.dumps(document).encode()
    fast = decoder._fast(body)
    if fast is None:
        return None
    assert fast.params == document.get("params")
    ours, theirs = (
        given_to_the_model(metadata, lambda: fast),
        given_to_the_model(metadata, lambda: decoder._by_mlflow(body, JSON)),
    )
    return ours or "refused", theirs or "refused by MLflow"


QUICK = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@QUICK
@given(tables(odd=False), st.sampled_from(FORMS), st.randoms(use_true_random=False), st.booleans())
def test_usual_requests_are_read_as_mlflow_reads_them(table: Any, form: str, random: Any, required: bool) -> None:
    kinds, rows = table
    places = list(range(len(kinds)))
    random.shuffle(places)
    document = request_of(form, [f"c{place}" for place in places], [[row[place] for place in places] for row in rows])
    read = read_both_ways(Metadata(kinds, required), document | {"params": {"a": 1}})
    assert (read is not None) == (form != "instances")
    assert read is None or read[0] == read[1]


@QUICK
@given(
    tables(odd=True),
    st.sampled_from(FORMS[:3]),
    st.sampled_from(["", "drop", "add", "rename", "index", "key", "ragged", "twice"]),
)
def test_unusual_requests_are_read_as_mlflow_reads_them(table: Any, form: str, change: str) -> None:
    kinds, rows = table
    document = request_of(form, [f"c{place}" for place in range(len(kinds))], rows)
    inner = document[form]
    columns: list[Any] = inner["columns"] if form == "dataframe_split" else []
    if change == "key":
        document["signature_name"] = "x"
    elif change == "index" and columns:
        inner["index"] = [7] * len(rows)
    elif change == "ragged":
        (inner["data"][0] if columns else next(iter(inner.values())) if form == "inputs" else inner).append({})
    elif change == "twice" and columns:
        inner["columns"] = [columns[0]] * len(columns)
    elif change in ("drop", "add", "rename"):
        records = inner if form == "dataframe_records" else [inner] if form == "inputs" else []
        for record in records[:1]:
            record["other" if change != "drop" else "c0"] = 1
            if change != "add":
                del record["c0"]
    read = read_both_ways(Metadata(kinds, True), document)
    assert read is None or read[0] == read[1]


def test_what_is_no_set_of_named_scalars_is_left_to_mlflow() -> None:
    import numpy as np
    from mlflow.types import ColSpec, Schema, TensorSpec

    for schema in (
        None,
        Schema([TensorSpec(np.dtype("float64"), (-1, 3))]),
        Schema([ColSpec("double")]),
        Schema([ColSpec("datetime", "day")]),
        Schema([ColSpec("double", "a"), ColSpec("double", "a")]),
    ):
        assert Columns.of(schema) is None


@pytest.mark.parametrize(
    ("body", "field", "expected", "said"),
    [
        (b'{"dataframe_split": {"columns": ["c0"], "data": [[1.0]]}}', "", "", "exactly"),
        (b"{broken", "", "", "JSON"),
        (b'{"rows": []}', "", "", "dataframe_split"),
        (b"\xff\xfe", "", "", "JSON"),
        (b"[" * 100_000, "", "", "RecursionError"),
        (b'{"inputs": ' + b"1" * 5000 + b"}", "", "", "digits"),
        (b'{"dataframe_records": [{"c0": "x", "c1": 1}]}', "c0", "double", "could not convert"),
        (b'{"dataframe_records": [{"c0": 1.0, "c1": null}]}', "c1", "long", "convert"),
    ],
)
def test_what_can_not_be_read_is_reported_without_the_input(body: bytes, field: str, expected: str, said: str) -> None:
    decoder = Decoder(Metadata(["double", "long"], True), 1000)
    if said == "exactly":
        body = body.replace(b"dataframe_split", b'inputs": 1, "instances')
    with pytest.raises(RequestError) as refused:
        decoder.decode(body, JSON)
    error = refused.value
    assert (error.status, error.field, error.expected) == (400, field, expected)
    assert said in error.message
    assert "Traceback" not in error.message
    assert len(error.message) <= 1000


@pytest.mark.parametrize(
    ("content_type", "accepted"),
    [
        (JSON, True),
        ("application/json; charset=utf-8", True),
        ('Application/JSON;charset="UTF-8"', True),
        ("application/json; charset=latin-1", False),
        ("application/json; version=2", False),
        ("text/plain", False),
        ("", False),
    ],
)
def test_content_types(content_type: str, accepted: bool) -> None:
    decoder, body = Decoder(Metadata(["double"], True), 1000), b'{"dataframe_split": {"columns": ["c0"], "data": [[1.0]]}}'
    if accepted:
        assert decoder.decode(body, content_type).rows == 1
    else:
        with pytest.raises(RequestError) as refused:
            decoder.decode(body, content_type)
        assert refused.value.status == 415


# -- too much ---------------------------------------------------------------------------------------------------------


def parquet(columns: dict[str, Any], **options: Any) -> bytes:
    table, written = pytest.importorskip("pyarrow").table(columns), io.BytesIO()
    pytest.importorskip("pyarrow.parquet").write_table(table, written, **options)
    return written.getvalue()


def refused(body: bytes, kind: str, max_rows: int = 32) -> RequestError:
    with pytest.raises(RequestError) as error:
        Decoder(Metadata(["double"], True), max_rows).decode(body, kind)
    return error.value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"c0\n" + b"1.0\n" * 33, "more rows than MAX_BATCH_SIZE, which is 32"),
        (b'c0,c1\n"a\nb",1\n' + b"1.0,2\r\n" * 32, "more rows than MAX_BATCH_SIZE, which is 32"),
        (b",".join([b"c"] * 10_001), "10001 columns"),
        (b"c0\n" + b"1," * 200_000, "200001 columns"),
        (b'c0,"' + b"x" * 200_000 + b'"\n' + b"1," * 200_000, "200001 columns"),
    ],
)
def test_a_csv_body_is_counted_before_it_is_decoded(body: bytes, said: str) -> None:
    error = refused(body, CSV)
    assert (error.status, said in error.message) == (413, True)


def test_csv_within_the_limits_is_read() -> None:
    limit = csv.field_size_limit()
    body = b"c0\n\n" + b"1.0\n" * 32 + b"\n"
    assert Decoder(Metadata(["double"], True), 32).decode(body, CSV).rows == 32
    assert csv.field_size_limit() == limit


def test_a_parquet_body_is_bounded_before_and_while_it_is_unpacked() -> None:
    rows = refused(parquet({"c0": [0.0] * 1_000_000}), PARQUET)
    assert (rows.status, "more rows" in rows.message) == (413, True)
    wide = refused(parquet({f"c{index}": [0.0] for index in range(10_001)}), PARQUET)
    assert (wide.status, "10001 columns" in wide.message) == (413, True)
    # One value of 1 MiB in a dictionary, a hundred times: 1 MiB by the file's own account.
    repeated = parquet({"c0": ["x" * (1 << 20)] * 100}, compression="zstd")
    assert len(repeated) < 10_000
    unpacked = refused(repeated, PARQUET, 1000)
    assert (unpacked.status, "64 MiB" in unpacked.message) == (413, True)
    packed = refused(parquet({"c0": [bytes([index]) * (1 << 20) for index in range(100)]}, compression="zstd"), PARQUET, 1000)
    assert (packed.status, "64 MiB" in packed.message) == (413, True)
    assert refused(b"PAR1 and no more", PARQUET).status == 400


def test_parquet_within_the_limits_is_read() -> None:
    assert Decoder(Metadata(["double"], True), 32).decode(parquet({"c0": [0.0] * 32}), PARQUET).rows == 32
