"""The same version published by two Pythons, from other folders, in other time zones and locales: the same image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.other_python import other_python

ROOT = Path(__file__).parent.parent
# Nothing but the standard library and promoter itself: the other Python has no packages.
PUBLISH = """
import json, sys
from pathlib import Path
from promoter.image.layout import LayoutRepository
from promoter.image.publish import Publisher
from promoter.models import ModelFile
from tests.support.models import FILES, model_version

model, images = Path(sys.argv[1], "model"), Path(sys.argv[1], "images")
for path, content in {**FILES, "models/unïcode/" + "long" * 40: b"x" * 513, "empty": b""}.items():
    (model / path).parent.mkdir(parents=True, exist_ok=True)
    (model / path).write_bytes(content)
files = [ModelFile(path.relative_to(model).as_posix(), path.stat().st_size) for path in model.rglob("*") if path.is_file()]
publisher = Publisher(LayoutRepository(images, "registry.example/model"), "registry.example/model", lambda *_: None)
image = publisher.ensure(model_version(tuple(files)), lambda file: (model / file.path).open("rb"))
blobs = sorted(path.name for path in (images / "blobs" / "sha256").iterdir())
print(json.dumps({"python": sys.version_info[:2], "digest": image.digest, "content": image.content_digest, "blobs": blobs}))
"""


def published(program: str, folder: Path, **env: str) -> dict[str, object]:
    """What this Python reports of the image that it published."""
    folder.mkdir()
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", **env}
    done = subprocess.run([program, "-c", PUBLISH, str(folder)], capture_output=True, env=environ, check=False)
    assert done.returncode == 0, done.stderr.decode()
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_two_pythons_publish_the_same_image(tmp_path: Path) -> None:
    other = other_python()
    here = published(sys.executable, tmp_path / "a", TZ="UTC", LC_ALL="C.UTF-8", PYTHONHASHSEED="1")
    there = published(other, tmp_path / "somewhere else", TZ="Asia/Tokyo", LC_ALL="C", PYTHONHASHSEED="2", PYTHONUTF8="1")
    assert here.pop("python") != there.pop("python")
    assert here == there
