"""One kustomization in the forms that people's files have: right, the same again, no other byte, and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from promoter.errors import ConfigError
from promoter.kustomize.release import Overlay, deployed, write_release
from promoter.models import Model, Release

REPOSITORY = "registry.example.com/fraud"
MODEL = Model("fraud", REPOSITORY, "fraud-detector", "release.yaml")
RELEASE_FILE = (
    b"kind: ConfigMap\nmetadata: {name: release}\ndata:\n  modelName: fraud\n  modelVersion: '7'\n  modelDigest: sha256:m7\n"
)
OURS = "- name: fraud-detector\n  newName: registry.example.com/old\n  newTag: v7\n  digest: sha256:aa\n"
OTHER = '- name: envoy\n  newTag: "1.10"\n'
HEAD, TAIL = "resources:\n- ../../base\n", "namespace: payments\n"

Form = Callable[[str], str]
"""From the entries of `images:` in block style to the whole file."""


def plain(entries: str) -> str:
    return f"{HEAD}images:\n{entries}{TAIL}"


def release(version: str, repository: str = REPOSITORY) -> Release:
    return Release("fraud", version, f"sha256:m{version}", repository, f"v{version}", "sha256:" + version * 2)


def as_json(entries: str, **options: Any) -> str:
    return json.dumps(yaml.safe_load(plain(entries)), **options) + "\n"


def quoted(entries: str, mark: str) -> str:
    lines = plain(entries).replace('"1.10"', "1.10").splitlines()
    found = []
    for line in lines:
        head, colon, value = line.partition(": ")
        head = f"{head}{colon}" if value else "- " if line.startswith("- ") else line
        found.append(f"{head}{mark}{value or line[2:]}{mark}" if value or line.startswith("- ") else line)
    return "\n".join(found) + "\n"


def flow_entries(entries: str) -> str:
    listed = yaml.safe_load(entries)
    rows = (
        "- {" + ", ".join(f"{key}: {json.dumps(value) if value == '1.10' else value}" for key, value in one.items()) + "}\n"
        for one in listed
    )
    return plain("".join(rows))


def flow(entries: str) -> str:
    listed = ", ".join(
        "{" + ", ".join(f"{key}: {json.dumps(value) if value == '1.10' else value}" for key, value in one.items()) + "}"
        for one in yaml.safe_load(entries)
    )
    return f"{{resources: [../../base], images: [{listed}], namespace: payments}}\n"


def indented(entries: str) -> str:
    return "".join(f"    {line}\n" for line in entries.splitlines())


def commented(entries: str) -> str:
    return entries.replace("  newTag: v7", "  # inside the entry\n  newTag: v7 # behind\n  # below").replace(
        "- name", "# above\n- name"
    )


FORMS: dict[str, Form] = {
    "as it is": plain,
    "CRLF": lambda entries: plain(entries).replace("\n", "\r\n"),
    "CR only": lambda entries: plain(entries).replace("\n", "\r"),
    "mixed line ends": lambda entries: plain(entries).replace("\n", "\r\n", 3),
    "BOM": lambda entries: "\ufeff" + plain(entries),
    "no final newline": lambda entries: plain(entries).rstrip("\n"),
    "no final newline, images last": lambda entries: f"{HEAD}{TAIL}images:\n{entries}".rstrip("\n"),
    "several final newlines": lambda entries: plain(entries) + "\n\n\n",
    "trailing blanks": lambda entries: plain(entries).replace("\n", "  \n"),
    "a tab before a comment": lambda entries: plain(entries.replace("v7\n", "v7\t# tab\n")),
    "a tab after a colon": lambda entries: plain(entries.replace("newTag: v7", "newTag:\tv7")),
    "... at the end": lambda entries: plain(entries) + "...\n",
    "--- at the start": lambda entries: "---\n" + plain(entries),
    "%YAML 1.1": lambda entries: "%YAML 1.1\n---\n" + plain(entries),
    "comment on the last line": lambda entries: plain(entries) + "# end",
    "indented comment on the last line": lambda entries: f"{HEAD}{TAIL}images:\n{entries}  # end\n",
    "comments around and inside": lambda entries: plain(commented(entries)),
    "an empty document behind": lambda entries: plain(entries) + "---\n",
    "two empty documents behind": lambda entries: plain(entries) + "---\n---\n",
    "NBSP in a comment": lambda entries: plain(entries) + "# a\u00a0b\n",
    "emoji and umlauts": lambda entries: f"# größe 🚀\n{plain(entries)}".replace("payments", "zahlungen-ü-🚀"),
    "JSON indented": lambda entries: as_json(entries, indent=2),
    "JSON compact": lambda entries: as_json(entries, separators=(",", ":")),
    "JSON with tabs": lambda entries: as_json(entries, indent="\t"),
    "flow": flow,
    "double-quoted": lambda entries: quoted(entries, '"'),
    "single-quoted": lambda entries: quoted(entries, "'"),
    "entries in flow style": flow_entries,
    "images first": lambda entries: f"images:\n{entries}{HEAD}{TAIL}",
    "images last, indented": lambda entries: f"{HEAD}{TAIL}images:\n{indented(entries)}",
    "the dash on its own line": lambda entries: plain(entries.replace("- ", "-\n  ")),
}
UNQUOTED_IN_FLOW = {"flow", "entries in flow style"}
"""Here a digest gets quotes: parsers of YAML 1.1 refuse a plain colon in a flow mapping."""

REFUSED: dict[str, bytes] = {
    "UTF-16": plain(OURS).encode("utf-16"),
    "? key": f"{HEAD}? images\n: {OURS.replace('- ', '- ', 1)}".replace("- name", "\n  - name")
    .replace("\n  new", "\n    new")
    .encode(),
    "U+2028 in a comment": (plain(OURS) + "# a\u2028b\n").encode(),
}


def overlay(kustomization: bytes, release_file: bytes = RELEASE_FILE) -> Overlay:
    return Overlay("o", "o/kustomization.yaml", kustomization, "o/release.yaml", release_file)


def written(before: Overlay, wanted: Release) -> Overlay:
    files = write_release(before, MODEL, wanted).files
    return overlay(files.get("o/kustomization.yaml", before.kustomization), files.get("o/release.yaml", before.release))


def values(content: bytes) -> Any:
    """As another parser reads it, which takes no tab after a colon and no carriage return alone."""
    text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n").replace(":\t", ": ").replace("\t", " ")
    (found,) = (document for document in yaml.safe_load_all(text) if document is not None)
    return found


@pytest.mark.parametrize("name", FORMS)
def test_an_entry_that_is_there_gets_its_values_and_nothing_else_changes(name: str) -> None:
    before = overlay(FORMS[name](OURS + OTHER).encode())
    after = written(before, release("8"))
    digest = b'"sha256:88"' if name in UNQUOTED_IN_FLOW else b"sha256:88"
    replaced = before.kustomization.replace(b"registry.example.com/old", REPOSITORY.encode())
    assert after.kustomization == replaced.replace(b"v7", b"v8").replace(b"sha256:aa", digest)
    assert deployed(after, MODEL) == release("8")
    assert not write_release(after, MODEL, release("8")).files
    back = written(after, Release("fraud", "7", "sha256:m7", "registry.example.com/old", "v7", "sha256:aa"))
    was = before.kustomization.replace(b"sha256:aa", b'"sha256:aa"') if name in UNQUOTED_IN_FLOW else before.kustomization
    assert (back.kustomization, back.release) == (was, before.release)


@pytest.mark.parametrize("name", FORMS)
def test_an_entry_that_is_missing_is_added_in_one_place(name: str) -> None:
    before = overlay(FORMS[name](OTHER).encode())
    after = written(before, release("8"))
    old, new = before.kustomization, after.kustomization
    start = next((at for at in range(len(old)) if old[at] != new[at]), len(old))
    assert new.endswith(old[start:]), "more than one insertion"
    expected = values(old)
    expected["images"].append({"name": "fraud-detector", "newName": REPOSITORY, "newTag": "v8", "digest": "sha256:88"})
    assert values(new) == expected
    assert not write_release(after, MODEL, release("8")).files
    assert written(written(after, release("9")), release("8")) == after


@pytest.mark.parametrize("name", REFUSED)
def test_a_form_that_parsers_disagree_about_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        write_release(overlay(REFUSED[name]), MODEL, release("8"))
