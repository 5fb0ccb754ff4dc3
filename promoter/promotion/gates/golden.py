"""golden: whether a version brings examples whose true answers are known, which are all that judges the model itself."""

from __future__ import annotations

from promoter.config.gates import OnMissing
from promoter.models import ModelVersion, Result, Ruling

GOLDEN = "golden_examples.json"
UNJUDGED = f"nothing judges the model itself: it has no {GOLDEN}"
_HINT = f"log {GOLDEN} with the model (docs/serving.md), and register that"


def golden(rule: OnMissing, version: ModelVersion) -> Ruling:
    """Whether the answers are right shows when the version is served: in the smoke test and the analysis."""
    if any(file.path == GOLDEN for file in version.files):
        return Ruling("golden", "", Result.PASSED, f"{GOLDEN} was logged with it")
    refuses = rule is OnMissing.REFUSE
    return Ruling("golden", "", Result.REFUSED if refuses else Result.WARNED, UNJUDGED, _HINT if refuses else "")
