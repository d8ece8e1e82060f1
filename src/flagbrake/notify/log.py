"""Notices into the log: one line each, the fields as structured data."""

from __future__ import annotations

import logging
from typing import ClassVar, Final

from flagbrake.ports.notify import Notice, Notifier

_log = logging.getLogger("flagbrake.notices")

#: What should wake somebody is an error; the rest is a warning: it changes what agents do.
_LEVELS: Final = {"alarm": logging.ERROR, "rollback": logging.ERROR, "rollout": logging.INFO}


class LogNotifier(Notifier):
    """Writes to the logger ``flagbrake.notices``; always on."""

    name: ClassVar[str] = "log"

    def notify(self, notice: Notice) -> None:
        """Write one line; the notice's fields are the record's ``flagbrake`` attribute."""
        fields = {
            "event": notice.event,
            "environment": notice.environment,
            "by": notice.by,
            "at": notice.at.isoformat(),
            **notice.data,
        }
        level = _LEVELS.get(notice.event, logging.WARNING)
        # One line, whatever a reason contains.
        text = " ".join(notice.text.split())
        _log.log(level, "%s: %s", notice.event, text, extra={"flagbrake": fields})
