"""MLflow's model registry: a reference to a model version in, the version with all that promoter needs to know out.

reference.py   what people write for a model version
settings.py    MLFLOW_* environment variables -> Settings
registry.py    ModelRegistry: what must hold before a version counts as resolved, whichever way MLflow is reached
store.py       the seam: what ModelRegistry asks of MLflow
rest.py        over MLflow's REST API (http, https), without importing mlflow; server.py reads its answers
client.py      over MLflow's own client (sqlite:, databricks-uc, ...), imported only then
artifacts.py   where a version's files lie: behind the server, in a folder, in a cloud store
mlmodel.py     the MLmodel file
webhooks.py    the webhooks that the server keeps
"""

from promoter.model_registry.reference import ModelReference
from promoter.model_registry.registry import ModelRegistry, connect
from promoter.model_registry.webhooks import Tested, Webhook, Webhooks

__all__ = ["ModelReference", "ModelRegistry", "Tested", "Webhook", "Webhooks", "connect"]
