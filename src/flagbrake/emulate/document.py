"""A JSON document in a file, replaced as a whole."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from flagbrake.errors import ConfigError


class Document:
    """The state of an emulator on disk. Whoever reads the file sees one whole version, old or new."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """The document; ``None`` when there is no file yet.

        Raises:
            ConfigError: the file cannot be read or holds something else.
        """
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{self.path} cannot be read as JSON ({error}).", cure="another --file") from error
        if not isinstance(data, dict):
            raise ConfigError(f"{self.path} does not hold an emulator's state.", cure="another --file")
        return data

    def save(self, data: dict[str, Any]) -> None:
        """Replace the document.

        Raises:
            ConfigError: the folder cannot be written.
        """
        text = json.dumps(data, ensure_ascii=False, indent=1)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
            try:
                with os.fdopen(handle, "w", encoding="utf-8") as file:
                    file.write(text)
                Path(name).replace(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be written ({error.strerror}).", cure="another --file") from error
