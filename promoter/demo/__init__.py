"""demo: the whole story with real parts: an MLflow store, trained models, a Git remote, images, and promotions between them.

`demo` runs it on one machine, where Kubernetes and Argo CD are a sandbox; `demo_on_cluster` on a live cluster.
"""

from promoter.demo.cluster import demo_on_cluster, options
from promoter.demo.local import demo

__all__ = ["demo", "demo_on_cluster", "options"]
