"""The site: its pages are put together from the repository's and from the code, and mkdocs takes them without a complaint."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import typer.main

from promoter import config
from promoter.cli import app
from promoter.cli.examples import EXAMPLES

ROOT = Path(__file__).parent.parent
LINK = re.compile(r"\]\(([^)\s]+)\)")


@pytest.fixture(scope="module")
def made() -> ModuleType:
    """The script, as a module."""
    spec = importlib.util.spec_from_file_location("docs_pages", ROOT / "docs/pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def pages(made: ModuleType) -> dict[str, str]:
    found: dict[str, str] = made.pages()
    return found


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page(pages: dict[str, str]) -> None:
    listed = re.findall(r"[\w-]+\.md", (ROOT / "mkdocs.yml").read_text().partition("\nnav:")[2])
    assert sorted(listed) == sorted(pages)


def test_links_stay_on_the_site(pages: dict[str, str]) -> None:
    prose = {name: re.sub(r"```.*?```|`[^`]*`", "", text, flags=re.DOTALL) for name, text in pages.items()}
    links = [(name, link.partition("#")[0]) for name, text in prose.items() for link in LINK.findall(text) if "://" not in link]
    assert len(links) > 100
    pictures = {file.name for kind in ("*.png", "*.svg") for file in (ROOT / "docs").glob(kind)}
    assert [(name, link) for name, link in links if link and link not in {*pages, *pictures}] == []


def test_a_link_that_leaves_the_pages_names_its_file(made: ModuleType, pages: dict[str, str]) -> None:
    assert "](../" not in "".join(pages.values())
    assert "promoter/image/runtime/Dockerfile." in pages["images.md"]
    assert "(readme.md#exit-codes)" in pages["ci.md"]
    assert "(first-release.md)" in pages["readme.md"]


def test_every_command_and_option_is_in_the_reference(pages: dict[str, str]) -> None:
    root = typer.main.get_command(app)
    names = {param.opts[0] for command in getattr(root, "commands", {}).values() for param in command.params}
    reference = pages["reference-commands.md"]
    assert [path for path in EXAMPLES if f"## promoter {path}".rstrip() + "\n" not in reference] == []
    assert [name for name in names if name.startswith("--") and f"`{name}" not in reference] == []


def test_every_key_is_in_the_reference(pages: dict[str, str]) -> None:
    keys = set(re.findall(r'"([a-z-]+)": \{\s*"(?:anyOf|description|\$ref|items|default)', config.schema())) - {"items"}
    reference = pages["reference-configuration.md"]
    assert "| `environments[].alias` | string |" in reference
    assert len(keys) > 30
    assert [key for key in keys if not re.search(rf"[`.]{key}`", reference)] == []


def test_mkdocs_takes_it_strictly(tmp_path: Path) -> None:
    program = ROOT / ".venv-docs/bin/mkdocs"
    if not program.exists():
        pytest.skip("mkdocs is not installed: make docs")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    subprocess.run([sys.executable, ROOT / "docs/pages.py", tmp_path / ".site/pages"], check=True)
    done = subprocess.run([program, "build", "--strict"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "every pod of the release" in (tmp_path / ".site/html/quick-start.html").read_text()
