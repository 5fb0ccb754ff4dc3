"""scaffold: the files of a GitOps repository for a model: what `init` writes."""

from promoter.commands.scaffold.addition import added
from promoter.commands.scaffold.own import own_repository
from promoter.commands.scaffold.pipelines import pipelines
from promoter.commands.scaffold.repository import README, new_repository
from promoter.commands.scaffold.wanted import Wanted

__all__ = ["README", "Wanted", "added", "new_repository", "own_repository", "pipelines"]
