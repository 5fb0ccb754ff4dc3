"""Models whose files lie in an object store: promoter reads the very bytes that MLflow's client wrote there.

With real clients of the three, and emulators on loopback.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support import stores

# In the Python that has the stores' clients: one file is asked for that was never there.
READ = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from promoter.errors import PromoterError
from promoter.model_registry import settings
from promoter.model_registry.client import ClientArtifacts
from promoter.models import ModelFile

uri, model = sys.argv[1], Path(sys.argv[2])
get_artifact_repository(uri).log_artifacts(str(model))
found = ClientArtifacts(uri, settings.read({"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "HOME": "/nonexistent"}))
read = {}
for file in found.list(datetime.now(UTC)):
    with found.open(file) as content:
        read[file.path] = [file.size, content.read() == (model / file.path).read_bytes()]
try:
    with found.open(ModelFile("gone", 3)):
        missing = "nothing was raised"
except PromoterError as error:
    missing = type(error).__name__
print(json.dumps({"read": read, "missing": missing}))
"""
# Names as models have them: in folders, with spaces, in other alphabets, with what URLs spell otherwise.
FILES = {
    "MLmodel": b"flavors:\n  python_function:\n    loader_module: mlflow.sklearn\n",
    "data/größe 100%.txt": b"100",
    "data/more/a+b&c=d#e.bin": bytes(range(256)) * 5000,
    "empty": b"",
}


@pytest.mark.full
@pytest.mark.parametrize("kind", stores.KINDS)
def test_files_are_read_as_they_were_logged(kind: str, tmp_path: Path) -> None:
    for name, content in FILES.items():
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(content)
    with stores.KINDS[kind](tmp_path) as store:
        done = store.run("-c", READ, f"{store.uri}/1/models/m-1/artifacts", tmp_path / "model")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["read"] == {name: [len(content), True] for name, content in FILES.items()}
    assert told["missing"].endswith("Error") or told["missing"] == "NotFound"
