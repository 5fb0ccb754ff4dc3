"""scaffold: the files of a GitOps repository for a model: what `init` writes."""

from promoter.scaffold.addition import added
from promoter.scaffold.repository import new_repository
from promoter.scaffold.wanted import Wanted

__all__ = ["Wanted", "added", "new_repository"]
