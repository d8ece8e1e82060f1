"""Settings: precedence, and errors that name the thing, the fact and the cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagbrake.config import load
from flagbrake.errors import ConfigError, FlagbrakeError, UnknownProvider
from flagbrake.registry import adapter
from flagbrake.wiring import configuration

ADAPTERS = ("sql", "launchdarkly")


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Write a TOML file and read it as the working directory's settings."""
    monkeypatch.chdir(tmp_path)

    def write(text: str) -> Path:
        path = tmp_path / "flagbrake.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_precedence(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument beats the environment, the environment beats the file, the file beats the default."""
    assert load(adapters=ADAPTERS).environment == "development"
    settings('environment = "from-file"')
    assert load(adapters=ADAPTERS).environment == "from-file"
    monkeypatch.setenv("FLAGBRAKE_ENVIRONMENT", "from-variable")
    assert load(adapters=ADAPTERS).environment == "from-variable"
    assert load(adapters=ADAPTERS, environment="argument").environment == "argument"


def test_the_file_is_found_from_below(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file of the project counts in its sub-folders, and a relative database stays beside the file."""
    settings('[store]\nurl = "sqlite:///data/x.db"')
    (tmp_path / "a" / "b").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "a" / "b")
    found = load(adapters=ADAPTERS)
    assert found.path == tmp_path / "flagbrake.toml"
    assert found.database() == f"sqlite:///{tmp_path}/data/x.db"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("enviroment = 'x'", ["Unknown key 'enviroment'", "Try: environment"]),
        ("[store]\nurll = 'x'", ["Unknown key 'urll'", "[store]", "Try: url"]),
        ("[flags.checkout]\nsafe_varient = 'off'", ["safe_varient", "flags.checkout", "safe_variant"]),
        ("use = \nx = 1", ["is not TOML", "line 1"]),
        ("environment = 5", ["'environment' is 5"]),
        ("environment = 'a/b'", ["'environment' is 'a/b'", "without a slash"]),
        ("[kill]\npolicy = 'maybe'", ["policy", "last-known, closed or open"]),
        ("[kill]\nwait = -1", ["kill.wait", "seconds above 0"]),
        ("store = 'x'", ["'store'", "is a table", "[store]"]),
        ("[store]\nurl = 'postgresql://u:pw@h/d'", ["password in plain text", "env ="]),
        ("[flags.checkout]\nscopes = ['agnet:x']", ["flags.checkout.scopes", "agnet:x", "KIND:PATH"]),
    ],
)
def test_a_mistake_is_named_with_its_cure(settings, text: str, words: list[str]) -> None:
    """A key, a value or a file that cannot be used is an error of one line that says what was meant."""
    settings(text)
    with pytest.raises(FlagbrakeError) as caught:
        configuration()
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message
    assert "pw" not in message


def test_secrets_are_references(settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret comes from a variable or a file; one that is not there is named, and none shows in a repr."""
    settings('[store]\nurl = { env = "SHOP_DB" }')
    with pytest.raises(ConfigError, match="SHOP_DB is not set"):
        configuration().database()
    monkeypatch.setenv("SHOP_DB", "postgresql://u:hush@h/d")
    found = configuration()
    assert found.database() == "postgresql://u:hush@h/d"
    assert "hush" not in repr(found)
    settings('[store]\nurl = { file = "secret" }')
    with pytest.raises(ConfigError, match=r"secret cannot be read \(No such file.*Try: put the secret in that file"):
        configuration().database()
    (tmp_path / "secret").mkdir()
    with pytest.raises(ConfigError, match=r"secret cannot be read \(Is a directory.*Try: a file that"):
        configuration().database()
    (tmp_path / "secret").rmdir()
    (tmp_path / "secret").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"secret is not text\. Try: the secret alone"):
        configuration().database()
    (tmp_path / "secret").write_text("postgresql://u:file-hush@h/d\n")
    assert configuration().database() == "postgresql://u:file-hush@h/d"


def test_an_unknown_provider_names_what_is_installed() -> None:
    """`use` of something that is not installed says what is, and how to get the other."""
    with pytest.raises(UnknownProvider, match=r"No provider 'posthog'\. Installed: .*sql.* Try: pip install the distr"):
        adapter("posthog")
    with pytest.raises(UnknownProvider, match='Try: use = "sql"'):
        adapter("sqll")


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """A configuration file that is named and not there is an error, never a silent default."""
    with pytest.raises(ConfigError, match=r"No configuration file .*nope\.toml\. Try: flagbrake init"):
        load(tmp_path / "nope.toml", adapters=ADAPTERS)


def test_agents_never_load_the_admin_file(settings, tmp_path: Path) -> None:
    """Admin tokens stand in a file of their own that only the control plane reads."""
    settings('use = "launchdarkly"')
    (tmp_path / "flagbrake.admin.toml").write_text('[launchdarkly]\ntoken = "t"\n')
    assert "launchdarkly" not in load(adapters=ADAPTERS).options
    assert load(adapters=ADAPTERS, admin=True).options["launchdarkly"] == {"token": "t"}
