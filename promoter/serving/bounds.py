"""Rows, columns and bytes of a body in a packed or loose format, counted before pandas makes a DataFrame of it."""

from __future__ import annotations

import csv
import io
from typing import Any

from promoter.serving.errors import RequestError

MOST_COLUMNS = 10_000
LARGEST = 64 * 1024 * 1024
"""Bytes of a Parquet body, unpacked."""

_ROWS_AT_ONCE = 65_536
_LONGEST_FIELD = 2**31 - 1


def require_csv(body: bytes, max_rows: int) -> None:
    """Raises: RequestError, 413."""
    longest = csv.field_size_limit(_LONGEST_FIELD)
    try:
        rows = -1  # the first line has the names
        for record in csv.reader(io.StringIO(body.decode(), newline="")):
            rows += bool(record)
            _require(rows, len(record), max_rows)
    finally:
        csv.field_size_limit(longest)


def require_parquet(body: bytes, max_rows: int) -> None:
    """Reads what the file describes first, then its rows, a few at a time: a small file may stand for gigabytes.

    Raises:
        RequestError: 413.
        Exception: of pyarrow; it can't be read.
    """
    import pyarrow.parquet

    file: Any = pyarrow.parquet.ParquetFile(io.BytesIO(body), pre_buffer=False)
    described = file.metadata
    _require(described.num_rows, described.num_columns, max_rows)
    packed = sum(described.row_group(index).total_byte_size for index in range(described.num_row_groups))
    _require_size(packed)
    unpacked = 0
    # No value of a row is longer than the whole file unpacked, so that many rows are within the limit.
    for batch in file.iter_batches(batch_size=max(1, min(max_rows, _ROWS_AT_ONCE, LARGEST // max(1, packed)))):
        unpacked += batch.nbytes
        _require_size(unpacked)


def _require(rows: int, columns: int, max_rows: int) -> None:
    if rows > max_rows:
        raise RequestError(413, f"the request has more rows than MAX_BATCH_SIZE, which is {max_rows}: send fewer or raise it")
    if columns > MOST_COLUMNS:
        raise RequestError(413, f"the request has {columns} columns, {MOST_COLUMNS} is the most")


def _require_size(size: int) -> None:
    if size > LARGEST:
        raise RequestError(413, f"the body is more than {LARGEST // 1024**2} MiB once it is unpacked")
