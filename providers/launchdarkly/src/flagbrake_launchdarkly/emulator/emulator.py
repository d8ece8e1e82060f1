"""LaunchDarkly on this machine: both planes, one address."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from flagbrake.emulate import control
from flagbrake.emulate.faults import Faults, FaultyApp
from flagbrake.emulate.server import Server
from flagbrake.errors import MissingExtra
from flagbrake.ports.emulator import Emulator
from flagbrake_launchdarkly.emulator import approvals, compiler, flags, projects, releases, rest, schedules, segments
from flagbrake_launchdarkly.emulator.account import READER, WRITER, Account
from flagbrake_launchdarkly.emulator.calls import answer, routes
from flagbrake_launchdarkly.emulator.editing import Json, check_flag
from flagbrake_launchdarkly.emulator.refusals import Refusal, refusal_of
from flagbrake_launchdarkly.emulator.sdk import SdkPlane

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

#: Environments a LaunchDarkly project begins with.
ENVIRONMENTS: Final = ("production", "test")
_BY: Final = "emulator"


class LaunchDarklyEmulator(Emulator):
    """A LaunchDarkly account with one project. Use it as a context manager, or start and stop it at will.

    Args:
        environments: keys of further environments.
        project: the project's key.
        port: on loopback; 0 takes a free one.
        file: where everything is kept between two runs; in memory only unless given.
        environment: the one whose keys :attr:`settings` hold.
    """

    #: Tokens of the management API: one may write, one may only read.
    api_token: Final = WRITER
    reader_token: Final = READER

    def __init__(
        self,
        *,
        environments: Iterable[str] = (),
        project: str = "default",
        port: int = 0,
        file: Path | None = None,
        environment: str = "production",
    ) -> None:
        self.environment = environment
        #: Break things: ``faults.add("/api/v2/*", status=503)``; see :class:`flagbrake.emulate.faults.Faults`.
        self.faults = Faults(refusal_of)
        self.sdk = SdkPlane()
        keys = dict.fromkeys((*ENVIRONMENTS, *environments, environment))
        self.account = Account(project=project, environments=keys, file=file, publish=self.sdk.publish)
        self._server = Server(FaultyApp(self._app(), self.faults), port=port, before_stop=self.sdk.hub.cut)
        self._clock: schedules.Clock | None = None

    @property
    def url(self) -> str:
        """Where both planes are."""
        return self._server.url

    @property
    def settings(self) -> Mapping[str, Any]:
        """``[launchdarkly]`` of flagbrake.toml."""
        return {
            "sdk_key": self.sdk_key(self.environment),
            "base_uri": self.url,
            "stream_uri": self.url,
            "events_uri": self.url,
        }

    @property
    def admin_settings(self) -> Mapping[str, Any]:
        """``[launchdarkly]`` of flagbrake.admin.toml."""
        return {"api_token": self.api_token, "api_url": self.url}

    @property
    def revision(self) -> int:
        """Counts changes; :meth:`wait_for` looks again after each."""
        return self.account.revision

    @property
    def streams(self) -> int:
        """How many SDKs listen."""
        return len(self.sdk.hub)

    def start(self) -> Self:
        """Accept connections."""
        self._server.start()
        if self._clock is None:
            self._clock = schedules.Clock(self.account)
        return self

    def stop(self) -> None:
        """Refuse them; what is open is closed. The state stays."""
        self._server.stop()
        clock, self._clock = self._clock, None
        if clock is not None:
            clock.stop()

    def wait(self) -> None:
        """Block until it is stopped."""
        self._server.wait()

    def offline(self, seconds: float) -> None:
        """Be unreachable for a while, in the background."""
        self._server.offline(seconds)

    def wait_for(self, predicate: Callable[[], Any], timeout: float = 10.0) -> bool:
        """Block until the predicate holds; it is looked at after every change and every event."""
        return self.account.wait_for(predicate, timeout)

    def sdk_key(self, environment: str) -> str:
        """The SDK key of an environment."""
        return str(self.account.environment(environment)["apiKey"])

    def events(self, kind: str | None = None, environment: str | None = None) -> list[Json]:
        """Events of analytics that SDKs sent, oldest first."""
        return self.sdk.events(kind, environment)

    def cut(self) -> int:
        """Break every open stream; SDKs connect again."""
        return self.sdk.hub.cut()

    def mute(self, *, on: bool = True) -> None:
        """Lose what streams would be told, while they stay open: updates that do not arrive."""
        self.sdk.hub.mute(on=on)

    def require_approvals(self, environment: str, *, on: bool = True) -> None:
        """Refuse direct changes of flags in an environment (405), as one that requires approvals does."""
        with self.account.lock:
            self.account.environment(environment)["requiresApproval"] = on
            self.account.saved()

    def put_flag(self, environment: str, sdk: Mapping[str, Any]) -> int:
        """Seed a flag by the back door, as SDKs see it; the management API then shows it as well.

        A version above the present one is kept, else the next one is taken.

        Returns:
            its version in this environment.
        """
        data = copy.deepcopy(dict(sdk))
        with self.account.lock:
            self.account.environment(environment)
            present = self.account.flags.get(data["key"])
            flag = copy.deepcopy(present) if present is not None else self._new(data["key"])
            values = data.get("variations", [True, False])
            flag["variations"] = compiler.variations_of(values, flag["variations"])
            flag["kind"] = compiler.kind_of(values)
            last = len(values) - 1
            flag["defaults"] = {side: min(index, last) for side, index in flag["defaults"].items()}
            config = compiler.config_of(data, flag["environments"][environment])
            version = data.get("version")
            if isinstance(version, int) and version > config["version"]:
                config["version"] = version
            flag["environments"][environment] = config
            for other in flag["environments"].values():
                _fit(other, last)
            check_flag(flag)
            self.account.commit_flag(data["key"], flag, by=_BY)
            return int(self.account.flags[data["key"]]["environments"][environment]["version"])

    def delete_flag(self, key: str) -> None:
        """Delete a flag by the back door, in every environment; nothing happens if there is none."""
        with self.account.lock:
            if key in self.account.flags:
                self.account.commit_flag(key, None, by=_BY, verb="deleted")

    def publish(self, environment: str, kind: str, key: str, content: Json | None, version: int) -> None:
        """Tell SDKs something that is not so: a stale version, a flag that is none. The account does not change."""
        with self.account.lock:
            self.sdk.publish(environment, kind, key, content, version)

    def put_segment(self, environment: str, sdk: Mapping[str, Any]) -> int:
        """Seed a segment by the back door, as SDKs see it; its version."""
        return segments.put(self.account, environment, copy.deepcopy(dict(sdk)), by=_BY)

    def delete_segment(self, environment: str, key: str) -> None:
        """Delete a segment by the back door."""
        with self.account.lock:
            if key in self.account.segments(environment):
                self.account.commit_segment(environment, key, None, by=_BY, verb="deleted")

    def flag(self, key: str) -> Json:
        """A flag as the management API shows it."""
        with self.account.lock:
            found = self.account.flag(key)
            return copy.deepcopy(
                flags.shown(found, self.account.project, None, summary=False, names=self.account.names)
            )

    def everything(self, environment: str) -> Json:
        """What an SDK of this environment downloads."""
        return self.account.everything(environment)

    def _new(self, key: str) -> Json:
        return flags.new_flag({"key": key, "name": key}, self.account.environments)

    def _app(self) -> Starlette:
        try:
            from starlette.applications import Starlette
            from starlette.exceptions import HTTPException
        except ImportError:
            raise MissingExtra(
                "The LaunchDarkly emulator needs starlette and uvicorn, which are not installed.",
                cure="pip install 'flagbrake-launchdarkly[emulator]'",
            ) from None

        async def unknown(_: Request, error: Exception) -> Response:
            status = error.status_code if isinstance(error, HTTPException) else 500
            code = "method_not_allowed" if status == 405 else ""
            return answer(status, Refusal(status, "Method not allowed" if code else "", code=code).body())

        parts = (rest, projects, segments, schedules, approvals, releases)
        served = [one for part in parts for one in part.SERVED]
        return Starlette(
            routes=[
                *self.sdk.routes(self.account),
                *routes(self.account, served),
                *control.routes(self.faults, self.sdk.hub, self.offline),
            ],
            exception_handlers={HTTPException: unknown},
        )


def _fit(config: Json, last: int) -> None:
    """A flag seeded with fewer variations than before: what other environments serve must exist."""
    if config.get("offVariation") is not None and config["offVariation"] > last:
        config["offVariation"] = last
    if (config["fallthrough"].get("variation") or 0) > last:
        config["fallthrough"] = {"variation": last}
