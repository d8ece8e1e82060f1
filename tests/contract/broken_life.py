"""Providers that start and stop wrongly, and cannot bear an outage."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path
from typing import Any

from openfeature.exception import GeneralError, ProviderNotReadyError

from flagbrake.evaluate.ruleset import Ruleset
from tests.contract.reference import SECRET, ReferenceProvider
from tests.contract.sabotage import of_provider


class Early(ReferenceProvider):
    """Answers before it was started."""

    def __init__(self, vendor, **rest):
        super().__init__(vendor, **rest)
        self._serving = True

    def initialize(self, evaluation_context):
        self._serving = False
        super().initialize(evaluation_context)


class Late(ReferenceProvider):
    """Answers after it was stopped."""

    def shutdown(self):
        self.stop()


class Hasty(ReferenceProvider):
    """Loads after start has returned."""

    def start(self, context):
        super().start(context)
        rules, self.rules = self.rules, Ruleset({})
        timer = threading.Timer(0.3, lambda: setattr(self, "rules", rules))
        timer.daemon = True
        timer.start()
        self.timer = timer

    def stop(self):
        self.timer.cancel()
        self.timer.join()
        super().stop()


class Eager(ReferenceProvider):
    """Starts a thread when it is made."""

    def __init__(self, vendor, **rest):
        super().__init__(vendor, **rest)
        self.done = threading.Event()
        self.thread = threading.Thread(target=self.done.wait, args=(5,), daemon=True)
        self.thread.start()

    def shutdown(self):
        super().shutdown()
        self.done.set()
        self.thread.join()


class Connecting(ReferenceProvider):
    """Opens a socket when it is made."""

    def __init__(self, vendor, **rest):
        super().__init__(vendor, **rest)
        self.socket = socket.create_server(("127.0.0.1", 0))

    def shutdown(self):
        super().shutdown()
        self.socket.close()


class Doubling(ReferenceProvider):
    """A thread more with each initialize."""

    def initialize(self, evaluation_context):
        super().initialize(evaluation_context)
        done = threading.Event()
        self.__dict__.setdefault("events", []).append(done)
        threading.Thread(target=done.wait, args=(5,), daemon=True).start()

    def shutdown(self):
        super().shutdown()
        for done in self.__dict__.get("events", []):
            done.set()


class StopsOnce(ReferenceProvider):
    """A second shutdown raises."""

    def shutdown(self):
        if self.__dict__.get("stopped"):
            raise RuntimeError("stopped already")
        self.stopped = True
        super().shutdown()


class StopsStartedOnly(ReferenceProvider):
    """A shutdown without a start raises."""

    def shutdown(self):
        if not self._serving and not self.__dict__.get("was"):
            raise RuntimeError("not started")
        self.was = True
        super().shutdown()


class OneLife(ReferenceProvider):
    """Cannot be started again."""

    def start(self, context):
        if self.__dict__.get("dead"):
            raise ProviderNotReadyError("It was closed.")
        super().start(context)

    def stop(self):
        self.dead = True
        super().stop()


class DeafAgain(ReferenceProvider):
    """Started again, it does not listen."""

    def start(self, context):
        super().start(context)
        if self.__dict__.get("before"):
            super().stop()
        self.before = True


class Communal(ReferenceProvider):
    """Stopping one stops all."""

    def stop(self):
        super().stop()
        self.vendor.listeners.clear()


class LeavesThread(ReferenceProvider):
    """Its thread goes on."""

    def start(self, context):
        super().start(context)
        threading.Thread(target=threading.Event().wait, args=(6,), name="left-behind", daemon=True).start()


class LeavesSocket(ReferenceProvider):
    """Its socket stays open."""

    kept: list[Any] = []  # noqa: RUF012 - that is the defect

    def start(self, context):
        super().start(context)
        self.kept.append(socket.create_server(("127.0.0.1", 0)))


class LeavesFile(ReferenceProvider):
    """A file stays open with each start."""

    def start(self, context):
        super().start(context)
        LeavesSocket.kept.append(Path(os.devnull).open())  # noqa: SIM115 - that is the defect


LIFE = [
    of_provider("answers before start", "lifecycle.before_start", Early),
    of_provider("answers after shutdown", "lifecycle.after_shutdown", Late),
    of_provider("ready before the data", "lifecycle.ready_with_data", Hasty),
    of_provider("a thread in the constructor", "lifecycle.no_work_in_constructor", Eager),
    of_provider("a socket in the constructor", "lifecycle.no_work_in_constructor", Connecting),
    of_provider("a thread with each initialize", "lifecycle.initialize_twice", Doubling),
    of_provider("a second shutdown raises", "lifecycle.shutdown_twice", StopsOnce),
    of_provider("a shutdown without a start raises", "lifecycle.shutdown_before_start", StopsStartedOnly),
    of_provider("cannot be started again", "lifecycle.reinitialize", OneLife),
    of_provider("started again, it is deaf", "lifecycle.reinitialize", DeafAgain),
    of_provider("stopping one stops all", "lifecycle.two_at_once", Communal),
    of_provider("leaves a thread", "lifecycle.no_thread_left", LeavesThread, patience=0.3),
    of_provider("leaves a socket", "lifecycle.no_socket_left", LeavesSocket, patience=0.3),
    of_provider("leaves a file open", "lifecycle.no_leak", LeavesFile, patience=0.3),
]


class Optimist(ReferenceProvider):
    """Returns from start with nothing."""

    def start(self, context):
        if self.vendor.up:
            super().start(context)


class Believer(ReferenceProvider):
    """Takes any key."""

    def start(self, context):
        self._key = SECRET
        super().start(context)


class Patient(ReferenceProvider):
    """Waits for ever."""

    def start(self, context):
        if self._hanging:
            threading.Event().wait(2)
        super().start(context)


class WrongError(ReferenceProvider):
    """Says NOT_READY for a key that will never work."""

    def start(self, context):
        if self._key != SECRET:
            raise ProviderNotReadyError("Not now.")
        super().start(context)


class PlainError(ReferenceProvider):
    """Raises the vendor's own exception."""

    def start(self, context):
        if not self.vendor.up:
            raise ConnectionError("refused")
        super().start(context)


class GivesUp(ReferenceProvider):
    """One failed start is for ever."""

    def start(self, context):
        if self.__dict__.get("failed"):
            raise ProviderNotReadyError("It failed before.")
        self.failed = not self.vendor.up
        super().start(context)


class Forgets(ReferenceProvider):
    """Without the vendor it knows nothing."""

    def resolve(self, flag_key, context):
        if not self.vendor.up:
            raise GeneralError("The vendor is away.")
        return super().resolve(flag_key, context)


class Slow(ReferenceProvider):
    """Without the vendor every answer waits."""

    def resolve(self, flag_key, context):
        if not self.vendor.up:
            threading.Event().wait(0.02)
        return super().resolve(flag_key, context)


class NeverBack(ReferenceProvider):
    """After an outage it does not follow any more."""

    def heard(self, what, keys):
        if what == "away":
            self.stop()
        super().heard(what, keys)


class StuckShutdown(ReferenceProvider):
    """Says goodbye to a vendor that is away."""

    def stop(self):
        super().stop()
        if not self.vendor.up:
            raise ConnectionError("refused")


OUTAGE = [
    of_provider("ready with nothing", "outage.start", Optimist),
    of_provider("the vendor's own exception", "outage.start", PlainError),
    of_provider("a failed start is for ever", "outage.start_later", GivesUp, patience=0.5),
    of_provider("forgets in an outage", "outage.goes_on", Forgets),
    of_provider("slow in an outage", "outage.fast", Slow),
    of_provider("never back", "outage.recovers", NeverBack, patience=0.5),
    of_provider("stuck in shutdown", "outage.shutdown", StuckShutdown),
    of_provider("takes any key", "outage.rejected", Believer),
    of_provider("a refused key is not fatal", "outage.rejected", WrongError),
    of_provider("waits for ever", "outage.hanging", Patient, start_within=0.5),
]

LIVES = [*LIFE, *OUTAGE]
