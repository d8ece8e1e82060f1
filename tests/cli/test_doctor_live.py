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


def test_a_vendor_that_is_away(shell: Shell) -> None:
    """A vendor that does not answer is told once, and hides no kill."""
    (shell.folder / "flagbrake.toml").write_text(
        'use = "launchdarkly"\nenvironment = "test"\n[store]\nurl = "sqlite:///flagbrake.db"\n'
        '[launchdarkly]\nsdk_key = "sdk-x"\nmode = "offline"\n'
    )
    (shell.folder / "flagbrake.admin.toml").write_text(
        '[launchdarkly]\napi_token = "api-x"\napi_url = "http://127.0.0.1:1"\napi_timeout = 0.5\n'
    )
    shell.ok("init")
    shell.ok("kill", "*", "--reason", "all wrong", "--arm")
    said = shell("doctor", "--live")
    assert said.code == 1
    assert said.out.count("FAIL  LaunchDarkly did not answer") == 1
    assert "the lane vendor-flag could not be read" in said.out
    assert "* is killed since" in said.out
    assert "all wrong. Try: flagbrake restore *" in said.out
