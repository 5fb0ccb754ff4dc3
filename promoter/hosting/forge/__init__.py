"""Pull requests on GitHub and Azure DevOps, behind one seam (`Forge`).

seam.py          what a forge can do, and the values it returns
github.py        GitHub by REST and GraphQL      azure_devops.py  Azure DevOps by REST
Another forge is a client here, a ForgeKind, and what its host has of its own in hosting/hosts.py.
"""

from __future__ import annotations

from collections.abc import Callable

from promoter.hosting.address import address_of
from promoter.hosting.forge.azure_devops import AzureDevOpsPullRequests
from promoter.hosting.forge.github import GitHubPullRequests
from promoter.hosting.forge.seam import GATES, Check, Draft, Forge, GatesStatus, PullRequest, Standing, State
from promoter.hosting.hosts import Address
from promoter.models import ForgeKind
from promoter.transport.credential import Credential

__all__ = [
    "GATES",
    "Address",
    "Check",
    "Draft",
    "Forge",
    "GatesStatus",
    "PullRequest",
    "Standing",
    "State",
    "address_of",
    "connect",
]


Connect = Callable[[Address, Callable[[], Credential], Callable[[float], None]], Forge]
_FORGES: dict[ForgeKind, Connect] = {ForgeKind.GITHUB: GitHubPullRequests, ForgeKind.AZURE_DEVOPS: AzureDevOpsPullRequests}


def connect(address: Address, token: Callable[[], Credential], sleep: Callable[[float], None]) -> Forge:
    """The client of the repository's forge; `token` is asked for each request."""
    return _FORGES[address.kind](address, token, sleep)
