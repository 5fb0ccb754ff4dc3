"""The receiver of MLflow's webhooks: a verified event wakes `reconcile` for its model. It keeps no state.

signature.py     which secrets there are, and whether a delivery was signed with one
events.py        the content of a delivery
application.py   the HTTP side, as an ASGI application; pages.py shows the receiver's state
connections.py   how many connections there may be, which one is closed for another; connection.py how long a request may take
controller.py    looks for differences at each event and at intervals
work_queue.py    one environment never twice at once, and once more if it was woken meanwhile
work.py          what is done about one environment: reconcile here, or dispatch a pipeline
source.py        where promoter.yaml is read again each time: a folder, or the tip of a branch
metrics.py log.py serve.py
"""

from promoter.webhook.serve import Options, serve
from promoter.webhook.signature import read_secrets
from promoter.webhook.source import ConfigSource, Folder, Remote

__all__ = ["ConfigSource", "Folder", "Options", "Remote", "read_secrets", "serve"]
