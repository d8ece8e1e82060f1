"""A folder with a store, as an operator's terminal sees it."""

from pathlib import Path

import pytest

from tests.support.command import Shell


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A folder after ``init``, with one flag that the scope ``agent:refunds`` covers."""
    (tmp_path / "home").mkdir()
    made = Shell(tmp_path)
    made.ok("init")
    made.ok(
        *("flag", "create", "agents.refunds", "--variant", "v1", "--variant", "v2"),
        *("--safe", "v1", "--scope", "agent:refunds"),
    )
    return made
