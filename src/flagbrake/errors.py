"""Every error of flagbrake, named by what the caller does next.

::

    FlagbrakeError                  one line: the thing, the fact, the cure
    ├── ConfigError                 mend the configuration
    │   ├── MissingExtra            install a distribution
    │   └── UnknownProvider         name an installed one
    ├── InvalidInput                mend the argument (flag, percentage, scope, plan, JSON)
    ├── NotFound                    name something that exists (the nearest is told)
    ├── Unsupported                 do it another way: this vendor cannot, or not yet
    ├── Conflict                    read again, decide again
    ├── ApprovalRequired            ask a person
    ├── NotAllowed                  use another token or role
    ├── RetryLater                  wait ``after`` seconds
    │   └── LockBusy                somebody else is writing this flag
    ├── Unavailable                 the other side did not answer
    │   ├── VendorUnavailable       ... a vendor
    │   └── StoreUnavailable        ... the database
    ├── KillFailed                  no durable lane took the kill: nothing was killed
    ├── KillUnheard                 a kill was stored but no live process listens, or not all confirmed
    ├── RestoreIncomplete           a lane did not lift the kill: it still stands, repeat
    └── NoEngine                    start `flagbrake engine`, or say --here

    Halted (BaseException)          stop the run: not caught by ``except Exception``
    ToolDenied (Exception)          skip this tool, the run goes on
    Interrupted (KeyboardInterrupt) Ctrl-C in a kill or restore that is under way: read its receipt
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flagbrake.model.kill import Kill
    from flagbrake.model.receipt import KillReceipt, RestoreReceipt


class FlagbrakeError(Exception):
    """Base of all errors. ``str()`` is one line: fact, then ``Try:`` and the cure when there is one."""

    #: Exit code of the command line for this error; documented in ``docs/reference/cli.md``.
    exit_code = 1

    def __init__(self, fact: str, *, cure: str = "") -> None:
        self.fact = fact
        self.cure = cure
        super().__init__(f"{fact} Try: {cure}" if cure else fact)


class ConfigError(FlagbrakeError):
    """The configuration cannot be used as it is."""

    exit_code = 2


class MissingExtra(ConfigError):
    """A feature needs a distribution that is not installed."""


class UnknownProvider(ConfigError):
    """No installed adapter has this name."""


class InvalidInput(FlagbrakeError):
    """An argument or a document is malformed; nothing was changed."""

    exit_code = 2


class NotFound(FlagbrakeError):
    """The named flag, kill, rollout or scope does not exist here."""

    exit_code = 3


class Unsupported(FlagbrakeError):
    """The adapter declares that it cannot do this (VENDOR_CANNOT) or cannot yet (NOT_YET)."""

    exit_code = 4


class Conflict(FlagbrakeError):
    """Somebody changed it in the meantime; nothing was written. ``detail`` may show the difference, in lines."""

    exit_code = 5

    def __init__(self, fact: str, *, cure: str = "", detail: str = "") -> None:
        self.detail = detail
        super().__init__(fact, cure=cure)


class ApprovalRequired(FlagbrakeError):
    """The vendor or the policy demands an approval first."""

    exit_code = 6


class NotAllowed(FlagbrakeError):
    """The token or the role does not permit this."""

    exit_code = 6


class RetryLater(FlagbrakeError):
    """Refused for now; ``after`` says how many seconds to wait, when known."""

    exit_code = 7

    def __init__(self, fact: str, *, cure: str = "", after: float | None = None) -> None:
        self.after = after
        super().__init__(fact, cure=cure)


class LockBusy(RetryLater):
    """Another controller holds the lock of this flag."""


class Unavailable(FlagbrakeError):
    """The other side did not answer; a write may have half-happened and must be read back.

    ``pending`` is true when the request was sent and given up: it may still be carried out, however often what it
    writes is read before that.
    """

    exit_code = 7

    def __init__(self, fact: str, *, cure: str = "", pending: bool = False) -> None:
        super().__init__(fact, cure=cure)
        self.pending = pending


class VendorUnavailable(Unavailable):
    """A vendor's service did not answer."""


class StoreUnavailable(Unavailable):
    """The database did not answer."""


class KillFailed(FlagbrakeError):
    """No durable lane took the kill. Nothing was killed. ``receipt`` tells what each lane said."""

    exit_code = 8

    def __init__(self, fact: str, *, cure: str = "", receipt: KillReceipt | None = None) -> None:
        self.receipt = receipt
        super().__init__(fact, cure=cure)


class KillUnheard(FlagbrakeError):
    """The kill (or its lifting) is stored, but not every live process confirmed it, or none is alive.

    ``receipt`` tells what was stored, who confirmed and who did not.
    """

    exit_code = 3

    def __init__(self, fact: str, *, cure: str = "", receipt: KillReceipt | RestoreReceipt | None = None) -> None:
        self.receipt = receipt
        super().__init__(fact, cure=cure)


class RestoreIncomplete(FlagbrakeError):
    """A lane still holds the kill, so it still stands. Repeat the restore. ``receipt`` tells which lane and why."""

    exit_code = 7

    def __init__(self, fact: str, *, cure: str = "", receipt: RestoreReceipt | None = None) -> None:
        self.receipt = receipt
        super().__init__(fact, cure=cure)


class NoEngine(FlagbrakeError):
    """A rollout needs a live engine and none is running."""

    exit_code = 9


class Halted(BaseException):
    """The run is killed. A ``BaseException`` so that ``except Exception: retry`` does not swallow it."""

    def __init__(self, kill: Kill, message: str = "") -> None:
        self.kill = kill
        super().__init__(message or f"{kill.scope} is killed: {kill.reason} (by {kill.by}, {kill.id})")


class ToolDenied(Exception):
    """A ``deny-tool`` kill covers this tool."""

    def __init__(self, kill: Kill, message: str = "") -> None:
        self.kill = kill
        super().__init__(message or f"{kill.scope} is denied: {kill.reason} (by {kill.by}, {kill.id})")


class Interrupted(KeyboardInterrupt):
    """Ctrl-C while a kill or restore waited: it is not taken back. ``receipt`` tells what was known by then."""

    def __init__(self, fact: str, *, receipt: KillReceipt | RestoreReceipt, cure: str = "") -> None:
        self.receipt = receipt
        super().__init__(f"{fact} Try: {cure}" if cure else fact)
