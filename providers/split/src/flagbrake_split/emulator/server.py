"""The emulator: Split on this machine, for development and tests without an account."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from flagbrake.emulate.control import routes as control_routes
from flagbrake.emulate.document import Document
from flagbrake.emulate.faults import Faults, FaultyApp
from flagbrake.emulate.server import Server
from flagbrake.emulate.sse import Hub
from flagbrake.ports.emulator import Emulator
from flagbrake_split.emulator.admin_v2 import BASE, AdminV2, refusal
from flagbrake_split.emulator.compile import JSON
from flagbrake_split.emulator.management import Management
from flagbrake_split.emulator.publisher import Publisher
from flagbrake_split.emulator.sdk_plane import Reports, SdkPlane
from flagbrake_split.emulator.segments import Segments
from flagbrake_split.emulator.state import Said, State

#: The key that may write, and the one that may only look.
ADMIN_KEY: Final = "admin-emulated-key"
VIEWER_KEY: Final = "viewer-emulated-key"
#: Seconds after which a condition is looked at again although nothing was changed.
_LOOK: Final = 0.02


class SplitEmulator(Emulator):
    """Speaks to SDKs and to management clients as Split does; ``with SplitEmulator() as split: split.url``.

    Args:
        environments: their names; the first one is the one that ``settings`` point to.
        port: 0 takes a free one.
        file: where the state is kept between two runs; in memory only unless given.
        token_lifetime: seconds that a token of the streaming service lives (SDKs need more than 600).
    """

    def __init__(
        self,
        *environments: str,
        port: int = 0,
        file: Path | None = None,
        token_lifetime: int = 3600,
    ) -> None:
        self.environments = environments or ("production",)
        self.state = State(self.environments)
        self.hub = Hub()
        self.faults = Faults(refusal)
        self.reports = Reports(self._notify)
        self.publisher = Publisher(self.hub)
        self._changed = threading.Condition()
        self._changes = 0
        self._document = Document(file) if file is not None else None
        if self._document is not None and (kept := self._document.load()) is not None:
            self.state.load(kept)
        self.management = Management(self.state, self.publisher, self._committed)
        self.segments = Segments(self.management)
        self.sdk_plane = SdkPlane(self.state, self.hub, self.reports, lifetime=token_lifetime)
        self._server = Server(self._app(), port=port, before_stop=self.hub.cut)

    def _app(self) -> FaultyApp:
        from starlette.applications import Starlette

        keys = {ADMIN_KEY: "editor", VIEWER_KEY: "viewer"}
        admin = AdminV2(self.management, self.segments, keys)
        control = control_routes(self.faults, self.hub, self.offline)
        app = Starlette(routes=[*self.sdk_plane.routes(), *admin.routes(), *control])
        return FaultyApp(app, self.faults)

    def _committed(self) -> None:
        if self._document is not None:
            self._document.save(self.state.to_data())
        self._notify()

    def _notify(self) -> None:
        with self._changed:
            self._changes += 1
            self._changed.notify_all()

    # --- life ---------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it is, once it is started."""
        return self._server.url

    @property
    def admin_url(self) -> str:
        """Where the management API begins."""
        return self.url + BASE

    @property
    def admin_key(self) -> str:
        """The key that may write."""
        return ADMIN_KEY

    @property
    def viewer_key(self) -> str:
        """A key that may only look: writing is 403."""
        return VIEWER_KEY

    @property
    def workspace(self) -> str:
        """The id of its workspace."""
        return str(self.state.workspace["id"])

    @property
    def settings(self) -> Mapping[str, Any]:
        """The adapter's table of flagbrake.toml that points an agent at it."""
        return {"sdk_key": self.sdk_key(), "base_url": self.url}

    @property
    def admin_settings(self) -> Mapping[str, Any]:
        """The adapter's table of flagbrake.admin.toml that points the control plane at it."""
        return {"admin_key": self.admin_key, "admin_url": self.admin_url, "workspace": self.workspace}

    def start(self) -> Self:
        """Start, or start again on the same port."""
        self._server.start()
        return self

    def stop(self) -> None:
        """Close every connection and refuse new ones; the state stays."""
        self._server.stop()

    def offline(self, seconds: float) -> None:
        """Refuse connections for a while."""
        self._server.offline(seconds)

    def wait(self) -> None:
        """Block until it is stopped, or until Ctrl-C."""
        self._server.wait()

    # --- the back door ------------------------------------------------------------------------------------

    def sdk_key(self, environment: str = "") -> str:
        """The SDK key of an environment."""
        return self.state.planes[environment or self.environments[0]].sdk_key

    def sdk_addresses(self) -> dict[str, str]:
        """The five addresses for ``splitio.get_factory``: one left out would be the vendor's own."""
        api = f"{self.url}/api"
        return {
            "sdk_api_base_url": api,
            "events_api_base_url": api,
            "auth_api_base_url": api,
            "telemetry_api_base_url": api,
            "streaming_api_base_url": self.url,
        }

    def put_split(self, split: JSON, environment: str = "") -> JSON:
        """Put in what SDKs download, word for word but for its change number; returns the definition shown for it."""
        return self.management.put_raw(environment or self.environments[0], split)

    def put_definition(
        self, definition: JSON, environment: str = "", *, description: str = "", tags: Iterable[str] = ()
    ) -> JSON:
        """Put in a definition, whatever permissions say."""
        env = environment or self.environments[0]
        return self.management.put_definition(env, definition, description=description, tags=tuple(tags))

    def put_segment(self, name: str, keys: Iterable[str], environment: str = "") -> None:
        """A segment with exactly these keys."""
        self.segments.put(environment or self.environments[0], name, keys)

    def put_rule_based_segment(self, definition: JSON, environment: str = "") -> None:
        """A rule-based segment: name, rules, excludedKeys, excludedSegments."""
        self.segments.put_rule_based(environment or self.environments[0], definition)

    def delete(self, name: str, environment: str = "") -> None:
        """Take a flag out; nothing happens if it is not there."""
        self.management.remove(environment or self.environments[0], name)

    def definition(self, name: str, environment: str = "") -> JSON:
        """A definition as the management API shows it."""
        return self.management.definition(environment or self.environments[0], name)

    def cut(self, *, clean: bool = False) -> int:
        """Cut every open stream; how many there were."""
        return self.hub.cut(clean=clean)

    def change_number(self, environment: str = "") -> int:
        """The change number of an environment's flags: an SDK that has it has seen everything."""
        with self.state.lock:
            return self.state.planes[environment or self.environments[0]].change_number

    # --- looking ----------------------------------------------------------------------------------------------

    @property
    def revision(self) -> int:
        """Counts every change, of flags, segments and everything else."""
        with self.state.lock:
            return self.state.revision

    def wait_for(self, condition: Callable[[], object], timeout: float = 10.0) -> bool:
        """Wait until a condition holds; asked again after each change and each report of an SDK, and now and then."""
        end = time.monotonic() + timeout
        while True:
            seen = self._changes
            if condition():  # asked without the lock: it may look at the state, whose writers notify under their own
                return True
            with self._changed:
                left = end - time.monotonic()
                if left <= 0:
                    return False
                # Streams come and go without a change.
                self._changed.wait_for(lambda seen=seen: self._changes != seen, min(left, _LOOK))  # type: ignore[misc]

    @property
    def streams(self) -> int:
        """How many streams are open."""
        return len(self.hub)

    @property
    def history(self) -> tuple[Said, ...]:
        """Every change made through the management API, with its title and comment."""
        with self.state.lock:
            return tuple(self.state.history)

    def impressions(self, environment: str | None = None) -> list[JSON]:
        """Impressions that SDKs reported, one by one, each with its flag as ``f``."""
        batches = self.reports.of("impressions", environment)
        return [{"f": part["f"], **one} for batch in batches for part in batch for one in part["i"]]

    def events(self, environment: str | None = None) -> list[JSON]:
        """Tracked events that SDKs reported."""
        return [event for batch in self.reports.of("events", environment) for event in batch]

    # --- modes -----------------------------------------------------------------------------------------------------

    def require_approvals(self, environment: str = "", *, on: bool = True, allow_kills: bool = False) -> None:
        """Refuse writes in an environment with 403, kills too unless they are allowed."""
        with self.state.lock:
            plane = self.state.planes[environment or self.environments[0]]
            plane.approvals, plane.allow_kills = on, allow_kills

    def require_comments(self, *, on: bool = True) -> None:
        """Refuse writes that come without title and comment."""
        with self.state.lock:
            self.state.requires_comments = on
