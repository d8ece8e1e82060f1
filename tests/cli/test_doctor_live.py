"""``flagbrake doctor --live`` is the same for every provider."""

from __future__ import annotations

from tests.support.command import Shell


def test_the_selftest_on_sql(shell: Shell) -> None:
    """On our own tables the self-test walks the same steps, and leaves nothing that is served."""
    shell.ok("init")
    said = shell.ok("doctor", "--live", "--selftest", "--json")
    steps = [f["text"].partition(" in ")[0] for f in said.data["findings"] if f["subject"] == "selftest"]
    assert steps == ["created", "ramped to 50 %", "turned off", "restored", "archived"]
    assert shell.ok("flag", "list", "--json").data["flags"] == []


def test_production_asks_first(shell: Shell) -> None:
    """In a production environment the self-test asks for a confirmation."""
    shell.ok("init")
    said = shell("doctor", "--selftest", "-e", "production")
    assert said.code == 2
    assert "asks for a confirmation" in said.err
