"""pickle: whether loading a version unpickles files, which runs whatever code they hold."""

from __future__ import annotations

from promoter.config.gates import OnPickle
from promoter.models import ModelVersion, Ruling
from promoter.promotion.gates.table import passed, refused, warned

_MOST = 5
_HINT = (
    "log it in a format without pickle: serialization_format='skops' for scikit-learn, code instead of an object for a pyfunc"
)


def pickle(rule: OnPickle, version: ModelVersion) -> Ruling:
    files = version.pickled
    if not files:
        return passed("pickle", "", "no file is unpickled")
    more = f" and {len(files) - _MOST} more" if len(files) > _MOST else ""
    detail = f"loading it unpickles {', '.join(files[:_MOST])}{more}"
    return refused("pickle", "", detail, _HINT) if rule is OnPickle.REFUSE else warned("pickle", "", detail)
