"""The file of an emulator."""

from __future__ import annotations

from pathlib import Path

import pytest

from flagbrake.emulate.document import Document
from flagbrake.errors import ConfigError


def test_saved_and_loaded(tmp_path: Path) -> None:
    """What was saved last is loaded; nothing else lies about; no file is no document."""
    document = Document(tmp_path / "deep" / "state.json")
    assert document.load() is None
    document.save({"a": 1})
    document.save({"a": "ü"})
    assert document.load() == {"a": "ü"}
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["state.json"]


@pytest.mark.parametrize("text", ["{", "[]"])
def test_damage_is_said(tmp_path: Path, text: str) -> None:
    """A file that holds something else is named and left alone."""
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"state\.json"):
        Document(path).load()
    assert path.read_text() == text


def test_what_cannot_be_written_leaves_the_old(tmp_path: Path) -> None:
    """A document that is no JSON changes nothing."""
    document = Document(tmp_path / "state.json")
    document.save({"a": 1})
    with pytest.raises(TypeError):
        document.save({"a": object()})
    assert document.load() == {"a": 1}
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="--file"):
        Document(tmp_path / "file" / "state.json").save({})
