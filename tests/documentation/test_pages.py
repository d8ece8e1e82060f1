"""Every code block of README and docs runs as printed."""

from pathlib import Path

import pytest

from tests.documentation.blocks import ROOT, pages, run_page

#: Its commands install what it writes; tests/packaging/test_stranger.py follows it on a machine of wheels.
_FOLLOWED_ELSEWHERE = ROOT / "docs" / "write-a-provider.md"
_HERE = [page for page in pages() if page != _FOLLOWED_ELSEWHERE]


@pytest.mark.parametrize("page", _HERE, ids=lambda page: str(page.relative_to(ROOT)))
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    """A reader who types what a page prints gets what the page promises."""
    run_page(page, tmp_path)


def test_links_lead_somewhere() -> None:
    """A relative link in README or docs names a file that exists."""
    import re

    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.relative_to(ROOT)} links to {target}"
