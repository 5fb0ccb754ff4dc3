"""A stand-in for a cluster with Argo CD and Argo Rollouts on one machine, for the demo and for tests: scenery, not product.

It follows a real Git remote, renders the overlays, walks each Rollout through its canary, and answers the calls of
Argo CD's API that promoter makes. tests/test_sandbox.py holds it against recordings of a live Argo CD.
"""

from promoter.demo.sandbox.application import Application
from promoter.demo.sandbox.pods import Behaviour, Measurement, Pod, PodStatus, ScriptedRuntime
from promoter.demo.sandbox.processes import Expectation, ProcessRuntime
from promoter.demo.sandbox.proxy import Proxy
from promoter.demo.sandbox.sandbox import Sandbox

__all__ = [
    "Application",
    "Behaviour",
    "Expectation",
    "Measurement",
    "Pod",
    "PodStatus",
    "ProcessRuntime",
    "Proxy",
    "Sandbox",
    "ScriptedRuntime",
]
