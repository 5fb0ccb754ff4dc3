"""BATCH=row-wise: requests that wait together are predicted together, for models whose rows do not know of each other.

No timer: what is merged is what queued while the last call ran. Each request gets the answer it would have got alone, and
its own error: a call that fails is taken apart and its requests are predicted one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from promoter.serving.decode import Decoded
from promoter.serving.errors import RequestError
from promoter.serving.model import Predictor, Request
from promoter.serving.streams import DONE

Answer = bytes | RequestError


@dataclass(frozen=True)
class _Waiting:
    place: int
    decoded: Decoded


def answer_alone(model: Predictor, request: Request, send: Callable[[bytes], None]) -> Answer:
    """The answer, or what is left of it: `send` gets the events of one in pieces."""
    try:
        decoded = model.decode(request)
        events = model.stream(decoded) if decoded.streamed else None
        if events is None:
            return model.encode(model.predict(decoded), decoded)
        for event in events:
            send(event)
        return DONE
    except RequestError as error:
        return error


def answer_together(model: Predictor, requests: Sequence[Request], most_rows: int) -> list[Answer]:
    """The answers in the order of the requests, by calls of `most_rows` at most."""
    answers: dict[int, Answer] = {}
    alike: dict[Hashable, list[_Waiting]] = {}
    for place, request in enumerate(requests):
        try:
            waiting = _Waiting(place, model.decode(request))
        except RequestError as error:
            answers[place] = error
        else:
            alike.setdefault(_shape(waiting.decoded) or place, []).append(waiting)
    for group in alike.values():
        for call in _calls(group, most_rows):
            answers.update(_answer_call(model, call))
    return [answers[place] for place in range(len(requests))]


def _calls(group: Sequence[_Waiting], most_rows: int) -> Iterator[list[_Waiting]]:
    call: list[_Waiting] = []
    rows = 0
    for waiting in group:
        if call and rows + waiting.decoded.rows > most_rows:
            yield call
            call, rows = [], 0
        call.append(waiting)
        rows += waiting.decoded.rows
    if call:
        yield call


def _answer_call(model: Predictor, call: Sequence[_Waiting]) -> dict[int, Answer]:
    if len(call) > 1:
        try:
            merged = Decoded(_merged([waiting.decoded.data for waiting in call]), call[0].decoded.params)
            prediction = model.predict(merged)
        except RequestError:
            pass  # somebody's row: whose is found by asking one by one
        else:
            parts = _split(prediction, [waiting.decoded.rows for waiting in call])
            if parts is not None:
                return {waiting.place: _encoded(model, part, waiting) for waiting, part in zip(call, parts, strict=True)}
    return {waiting.place: _answer_one(model, waiting) for waiting in call}


def _answer_one(model: Predictor, waiting: _Waiting) -> Answer:
    try:
        prediction = model.predict(waiting.decoded)
    except RequestError as error:
        return error
    return _encoded(model, prediction, waiting)


def _encoded(model: Predictor, prediction: Any, waiting: _Waiting) -> Answer:
    try:
        return model.encode(prediction, waiting.decoded)
    except RequestError as error:
        return error


def _shape(decoded: Decoded) -> Hashable:
    """Equal for what can be merged; "" for what must be predicted alone."""
    import numpy as np
    import pandas as pd

    data = decoded.data
    if decoded.unwrapped:
        return ""
    if isinstance(data, pd.DataFrame):
        # An index of a client's own may mean something to the model.
        plain = isinstance(data.index, pd.RangeIndex) and data.index.start == 0 and data.index.step == 1
        return (*map(str, data.columns), *map(str, data.dtypes), repr(decoded.params)) if plain else ""
    if isinstance(data, np.ndarray) and data.ndim:
        return (str(data.dtype), *data.shape[1:], repr(decoded.params))
    arrays = list(data.values()) if isinstance(data, dict) else []
    if not all(isinstance(value, np.ndarray) and value.ndim for value in arrays) or len(set(map(len, arrays))) != 1:
        return ""
    return (*((name, str(value.dtype), value.shape[1:]) for name, value in data.items()), repr(decoded.params))


def _merged(data: Sequence[Any]) -> Any:
    import numpy as np
    import pandas as pd

    first = data[0]
    if isinstance(first, pd.DataFrame):
        if len(set(first.dtypes)) == 1 and isinstance(first.dtypes.iloc[0], np.dtype):  # one block: no need to join columns
            return pd.DataFrame(np.concatenate([frame.to_numpy() for frame in data]), columns=first.columns)
        return pd.concat(data, ignore_index=True)
    if isinstance(first, Mapping):
        return {name: np.concatenate([one[name] for one in data]) for name in first}
    return np.concatenate(list(data))


def _split(prediction: Any, rows: Sequence[int]) -> list[Any] | None:
    """Each request's part; None if the prediction does not have one element per row."""
    import numpy as np
    import pandas as pd

    bounds = list(pairwise(accumulate(rows, initial=0)))
    if isinstance(prediction, Mapping):
        columns = {name: _split(value, rows) for name, value in prediction.items()}
        if not columns or any(parts is None for parts in columns.values()):
            return None
        return [{name: parts[place] for name, parts in columns.items() if parts} for place in range(len(rows))]
    if not isinstance(prediction, (pd.DataFrame, pd.Series, np.ndarray, list)) or len(prediction) != bounds[-1][1]:
        return None
    if isinstance(prediction, (pd.DataFrame, pd.Series)):
        return [prediction.iloc[start:end] for start, end in bounds]
    return [prediction[start:end] for start, end in bounds]
