"""Requests that an OpenAPI document allows, as hypothesis strategies: of JSON Schema what the inference server writes."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def values(schema: Mapping[str, Any]) -> st.SearchStrategy[Any]:
    if "const" in schema:
        return st.just(schema["const"])
    for either in ("oneOf", "anyOf"):
        if either in schema:
            return st.one_of([values(one) for one in schema[either]])
    kind = schema.get("type")
    if kind == "object":
        members = {name: values(member) for name, member in schema["properties"].items()}
        required = {name: members.pop(name) for name in schema["required"]}
        return st.fixed_dictionaries(required, optional=members)
    if kind == "array":
        most = schema.get("maxItems", 4)
        return st.lists(values(schema["items"]), min_size=schema.get("minItems", 0), max_size=most)
    if schema.get("format") == "date-time":
        return st.datetimes().map(lambda moment: moment.isoformat())
    if schema.get("contentEncoding") == "base64":
        return st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode())
    scalars: dict[str | None, st.SearchStrategy[Any]] = {
        "number": st.floats(allow_nan=False, allow_infinity=False) | st.integers(),
        "integer": st.integers(schema.get("minimum", -(2**63)), schema.get("maximum", 2**63 - 1)),
        "boolean": st.booleans(),
        "string": st.text(max_size=8),
        "null": st.none(),
    }
    return scalars.get(kind, ANY_JSON)
