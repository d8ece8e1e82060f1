"""What a vendor's own log says of a flag."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class VendorEntry:
    """One entry: ``by`` is the person flagbrake acted for, else whose login or token it was."""

    at: datetime
    by: str
    #: What was done, in the vendor's words.
    action: str
    reason: str = ""
