"""Makes the pictures of docs/report.md: python docs/screenshots.py, with Chromium. Look at them before you commit them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from promoter.report.page import html
from tests.support.browser import browser, program
from tests.support.report_facts import story

HERE = Path(__file__).parent
PICTURES = (("report-light", 1000, 1240, "light"), ("report-dark", 400, 900, "dark"))


def main(folder: Path) -> None:
    """A page of 24 releases that were written by hand, as wide as a screen in the light, as a telephone in the dark."""
    with tempfile.TemporaryDirectory() as place, browser() as page:
        file = Path(place) / "report.html"
        file.write_text(html(story(24)))
        for name, width, height, scheme in PICTURES:
            page.open(file.as_uri(), width, scheme, height)
            (folder / f"{name}.png").write_bytes(page.picture())


if __name__ == "__main__":
    if program() is None:
        sys.exit("error: Chromium is not installed\nhint: apt-get install chromium")
    main(Path(sys.argv[1]) if sys.argv[1:] else HERE)
