"""scaffold: the files of a GitOps repository for a model: what `init` writes."""

from promoter.scaffold.addition import added
from promoter.scaffold.repository import new_repository
from promoter.scaffold.wanted import Ci, Wanted, Workload

__all__ = ["Ci", "Wanted", "Workload", "added", "new_repository"]
