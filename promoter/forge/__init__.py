"""Pull requests on GitHub and Azure DevOps, behind one seam (`Forge`).

seam.py         what both can do, and the values they give          address.py      which forge a repository's address means
github.py       GitHub's REST and GraphQL APIs                       azure_devops.py Azure DevOps' REST API
"""

from __future__ import annotations

from collections.abc import Callable

from promoter.forge.azure_devops import AzureDevOps
from promoter.forge.github import GitHub
from promoter.forge.seam import Check, Draft, Forge, PullRequest, Standing, State
from promoter.hosting.address import Address, address_of
from promoter.models import ForgeKind

__all__ = ["Address", "Check", "Draft", "Forge", "PullRequest", "Standing", "State", "address_of", "connect"]


def connect(address: Address, token: Callable[[], str], sleep: Callable[[float], None]) -> Forge:
    """The client of the repository's forge; `token` is asked for each request."""
    return (GitHub if address.kind is ForgeKind.GITHUB else AzureDevOps)(address, token, sleep)
