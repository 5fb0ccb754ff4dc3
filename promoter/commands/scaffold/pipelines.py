"""The pipelines that promote: those that are shipped, taking promoter from the repository that has it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from promoter.commands.scaffold import template
from promoter.commands.scaffold.wanted import Wanted
from promoter.models import Ci

_ACTION = "./ # in another repository: your-org/promoter@<commit>"
_MODEL, _ENVIRONMENT = "default: fraud-detector\n", "default: staging\n"
# https://learn.microsoft.com/azure/devops/pipelines/yaml-schema/steps-checkout: paths are below Agent.BuildDirectory
_CHECKOUT = re.compile(r"^( *)- checkout: self\n *fetchDepth: 1\n", re.MULTILINE)
_BOTH = r"""\1- checkout: self
\1  fetchDepth: 1
\1  path: gitops
\1- checkout: promoter
\1  fetchDepth: 1
\1  path: promoter
"""
_STEPS = re.compile(r"template: \.azure-pipelines/steps\.yml\n( *)parameters:\n")
_OTHERS_STEPS = r"""template: .azure-pipelines/steps.yml@promoter
\1parameters:
\1  source: $(Agent.BuildDirectory)/promoter
\1  workingDirectory: $(Agent.BuildDirectory)/gitops
"""
_RESOURCES = """\
resources:
  repositories:
  - repository: promoter
    type: github # git for one of Azure Repos, whose name is PROJECT/REPOSITORY
    name: {name}
    ref: {ref}
    endpoint: github # the service connection to GitHub

trigger:
"""


def pipelines(wanted: Wanted) -> dict[str, bytes]:
    """Each file by its path; none if no pipeline is wanted."""
    changed: Mapping[Ci, Callable[[str, Wanted], str]] = {Ci.GITHUB: _github, Ci.AZURE: _azure}
    if wanted.ci not in changed:
        return {}
    return {path: changed[wanted.ci](content.decode(), wanted).encode() for path, content in template.pipelines(wanted.ci)}


def _github(text: str, wanted: Wanted) -> str:
    text = text.replace(f"uses: {_ACTION}", f"uses: {wanted.action}").replace("uses: ./\n", f"uses: {wanted.action}\n")
    return _branch(text, wanted)


def _azure(text: str, wanted: Wanted) -> str:
    name, _, ref = wanted.action.partition("@")
    resources = _RESOURCES.format(name=name, ref=ref if ref.startswith("refs/") else f"refs/tags/{ref}")
    text = text.replace("trigger:\n", resources, 1)
    text = text.replace(_MODEL, f"default: {wanted.model}\n").replace(_ENVIRONMENT, f"default: {wanted.environments[0]}\n")
    return _branch(_STEPS.sub(_OTHERS_STEPS, _CHECKOUT.sub(_BOTH, text)), wanted)


def _branch(text: str, wanted: Wanted) -> str:
    return text.replace("[main]", f"[{wanted.branch}]")
