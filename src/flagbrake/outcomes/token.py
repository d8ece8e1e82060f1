"""A run in one line of text, to report on it from another process."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from flagbrake.errors import InvalidInput

_PREFIX = "r1."


@dataclass(frozen=True, slots=True)
class RunToken:
    """What a later report needs to join an outcome to a run.

    Not signed: it carries no secret and grants nothing, but a caller who can alter it can misattribute an
    outcome. Keep it on the server where users are not trusted.
    """

    run_id: str
    environment: str
    flag: str
    version: int
    variant: str
    unit: str
    started_at: datetime

    def __str__(self) -> str:
        millis = round(self.started_at.timestamp() * 1000)
        fields = [self.run_id, self.environment, self.flag, self.version, self.variant, self.unit, millis]
        text = json.dumps(fields, separators=(",", ":"), ensure_ascii=False)
        return _PREFIX + base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> RunToken:
        """Read a token.

        Raises:
            InvalidInput: it is none, or of another form.
        """
        try:
            run_id, environment, flag, version, variant, unit, millis = _fields(text)
            started_at = datetime.fromtimestamp(millis / 1000, UTC)
        except (ValueError, TypeError, AttributeError, OverflowError, OSError):
            shown = text if isinstance(text, str) and len(text) <= 40 else f"{str(text)[:40]}..."
            raise InvalidInput(f"'{shown}' is not a run token.", cure="the text of run.token, unchanged") from None
        return cls(run_id, environment, flag, version, variant, unit, started_at)


def _fields(text: str) -> tuple[str, str, str, int, str, str, int]:
    prefix, body = text[: len(_PREFIX)], text[len(_PREFIX) :]
    fields = json.loads(base64.b64decode(body + "=" * (-len(body) % 4), altchars=b"-_", validate=True))
    if prefix != _PREFIX or [type(f) for f in fields] != [str, str, str, int, str, str, int]:
        raise ValueError(text)
    return tuple(fields)


def unit_hash(targeting_key: str | None, environment: str) -> str:
    """The unit as outcomes name it: 8 bytes of BLAKE2b in hex, keyed by environment; empty without a key."""
    if not targeting_key:
        return ""
    salt = environment.encode()
    if len(salt) > hashlib.blake2b.MAX_KEY_SIZE:
        salt = hashlib.blake2b(salt).digest()
    return hashlib.blake2b(targeting_key.encode(errors="surrogatepass"), digest_size=8, key=salt).hexdigest()
