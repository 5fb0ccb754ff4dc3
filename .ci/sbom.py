"""The packages of a lock as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/): python sbom.py VERSION LOCK."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

ENTRY = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)([^\n]*(?:\n[ \t][^\n]*)*)", re.MULTILINE)
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def bill(version: str, lock: str) -> dict[str, Any]:
    """promoter of this version, with each package of the lock and the hashes of its files."""
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": component("model-promoter", version) | {"type": "application"}},
        "components": [
            component(name, found)
            | {"externalReferences": [{"type": "distribution", "url": f"pkg:pypi/{name}@{found}", "hashes": hashes(rest)}]}
            for name, found, rest in ENTRY.findall(lock)
        ],
    }


def component(name: str, version: str) -> dict[str, Any]:
    """One package."""
    purl = f"pkg:pypi/{name}@{version}"
    return {"type": "library", "name": name, "version": version, "purl": purl, "bom-ref": purl}


def hashes(entry: str) -> list[dict[str, str]]:
    """Those of a package's files, any of which pip may install."""
    return [{"alg": "SHA-256", "content": one} for one in HASH.findall(entry)]


if __name__ == "__main__":
    json.dump(bill(sys.argv[1], Path(sys.argv[2]).read_text()), sys.stdout, indent=1)
    sys.stdout.write("\n")
