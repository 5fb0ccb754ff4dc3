"""The small world with images in a container registry, so that what becomes of a release is recorded next to its image."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from promoter import config
from promoter.image.attestation import opened
from promoter.image.manifest import RUN_ID
from promoter.image.oci import LAYER, MANIFEST, Descriptor, canonical, sha256
from promoter.image.reference import ImageReference
from promoter.image.registry import RegistryRepository
from promoter.promotion import record
from promoter.promotion.releases import Committed
from tests.support.argo_world import MODEL, REPOSITORY, World, WorldClients, digest, overlay, world
from tests.support.write_path import unique_name

SCHEMA = Path(__file__).parents[2] / "docs" / "record.schema.json"


@dataclass
class Recorded:
    """`images` are the digests by model version; `repository` is where they are."""

    it: World
    name: str
    repository: RegistryRepository
    images: dict[int, str]

    def files(self, version: int) -> dict[str, str]:
        """The overlay of a version, with the image that the registry has."""
        text = overlay(version)
        return {
            path: content.replace(REPOSITORY, self.name).replace(digest(version), self.images[version])
            for path, content in text.items()
        }

    def promote(self, version: int, **trailers: str) -> Committed:
        """A commit as `promoter promote` makes it; the cluster has not seen it yet."""
        written = {
            "Promotion-Id": f"{version:016x}",
            "Model": MODEL,
            "Model-Version": str(version),
            "Environment": "staging",
            **{key.replace("_", "-"): value for key, value in trailers.items()},
        }
        lines = "\n".join(f"{key}: {value}" for key, value in written.items())
        message = f"Promote {MODEL} version {version} to staging\n\n{lines}"
        return self.it.committed(self.it.remote.commit(self.files(version), message))

    def stored(self, version: int) -> list[tuple[str, bytes]]:
        """Media type and content of what is attached to the version's image."""
        referrers = self.repository.referrers
        return [referrers.read(one) for one in referrers.of(self.images[version])]

    def statements(self, version: int) -> list[dict[str, Any]]:
        return [json.loads(opened(*one, "it").statement) for one in self.stored(version)]

    def predicates(self, version: int) -> list[dict[str, Any]]:
        return [one["predicate"] for one in self.statements(version)]

    def kinds(self, version: int) -> list[str]:
        """The verdicts, in the order in which they were written."""
        return [one.annotations[record.VERDICT] for one in self.repository.referrers.of(self.images[version])]

    def configure(self, lines: str = "", **environ: str) -> None:
        """Adds lines to promoter.yaml, and variables to the environment."""
        file = self.it.folder / "promoter.yaml"
        file.write_text(file.read_text() + lines)
        self.it.clients = WorldClients(config.load(file), {**self.it.clients.environ, **environ})


def push(repository: RegistryRepository, version: int) -> str:
    """A small image of a version, with the MLflow run that it is of."""
    content = f"model {version}".encode()
    layer = Descriptor(LAYER, repository.write_blob([content], len(content)), len(content))
    empty = Descriptor("application/vnd.oci.image.config.v1+json", repository.write_blob([b"{}"], 2), 2)
    manifest = canonical(
        {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": empty.as_json(),
            "layers": [layer.as_json()],
            "annotations": {RUN_ID: f"run-{version}"},
        }
    )
    repository.create_manifest(f"v{version}-20261101T090000Z", manifest)
    return sha256(manifest)


@contextmanager
def recorded(
    folder: Path, host: str, environ: Mapping[str, str], *, lines: str = "", namespace: str = "models", versions: int = 3
) -> Iterator[Recorded]:
    """Version 1 is live, from the registry at `host`; nobody watched it. `lines` are more keys of the environment."""
    name = f"{host}/{namespace}/{unique_name() if namespace != 'team' else 'model'}"
    repository = RegistryRepository(ImageReference.parse(name))
    images = {version: push(repository, version) for version in range(1, versions + 1)}
    with world(folder, environ, lines=lines) as it:
        file = folder / "promoter.yaml"
        file.write_text(file.read_text().replace(REPOSITORY, name).replace("  layout: oci:images\n", ""))
        made = Recorded(it, name, repository, images)
        made.configure()
        it.remote.commit(made.files(1), "Take the images of the registry")
        it.settle(60)
        it.clients = replace(it.clients)
        yield made
