"""``python -m tests.documentation [--check]``: write the generated pages, or fail when one is stale."""

import sys

from tests.documentation.generate import PAGES, ROOT


def main() -> int:
    """Write or check; the exit code says whether a page was stale."""
    check = "--check" in sys.argv[1:]
    stale = []
    for name, make in PAGES.items():
        page = ROOT / "docs" / name
        text = make()
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            stale.append(name)
            if not check:
                page.parent.mkdir(parents=True, exist_ok=True)
                page.write_text(text, encoding="utf-8")
    if check and stale:
        sys.stderr.write(f"Stale: {', '.join('docs/' + name for name in stale)}. Try: make docs\n")
        return 1
    return 0


sys.exit(main())
