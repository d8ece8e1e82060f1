"""A shell in an empty folder."""

from pathlib import Path

import pytest

from tests.support.command import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder with nothing in it."""
    (tmp_path / "home").mkdir()
    return Shell(tmp_path)
