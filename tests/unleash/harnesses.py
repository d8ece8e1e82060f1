"""The harness of the Unleash adapter, on the real server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final

import httpx
from openfeature.provider import FeatureProvider

from flagbrake_contract import Harness
from flagbrake_unleash.control import UnleashControl
from flagbrake_unleash.provider import UnleashProvider
from flagbrake_unleash.sdk import SdkSettings
from flagbrake_unleash.server import UnleashServer
from tests.contract.harnesses import silent
from tests.support.servers import PostgreSQL
from tests.support.waiting import wait_until
from tests.unleash.backdoor import ENVIRONMENT, BackDoor
from tests.unleash.enterprise import change_requests, editor_token
from tests.unleash.gate import Gate
from tests.unleash.servers import unleash

Wrap = Callable[[FeatureProvider], FeatureProvider]

_AS_TEXT = "every property of an Unleash context is a text (docs/unleash.md)"
#: What Unleash is, and no adapter can change.
DEVIATIONS = {
    "targeting.strict_types": _AS_TEXT,
    "targeting.boolean": _AS_TEXT,
    "targeting.list_attribute": "an Unleash constraint compares one text, not the elements of a list (docs/unleash.md)",
    "keys.punctuation": "Unleash refuses names with quotes or a backslash, and its engine cannot ask for them",
    "common.story": 'it asks for a list attribute and for 18 to differ from "18" (docs/unleash.md)',
    "common.buckets": "Unleash hashes units its own way: percentages agree, the units in them do not (docs/unleash.md)",
}


#: Seconds for a start while the server is there.
_PATIENT: Final = 20.0


@dataclass
class Vendor:
    """The server, its database from behind, and the gate through which the adapter reaches it."""

    server: UnleashServer
    back: BackDoor
    gate: Gate
    database: PostgreSQL
    made: list[UnleashProvider] = field(default_factory=list)

    @property
    def token(self) -> str:
        return self.server.backend_tokens[ENVIRONMENT]

    def settings(self, **others: object) -> SdkSettings:
        given = SdkSettings(
            f"{self.gate.url}/api", self.token, refresh_interval=1.0, metrics_interval=60.0, timeout=3.0
        )
        return replace(given, **others)

    def provider(self, **others: object) -> UnleashProvider:
        made = UnleashProvider(self.settings(**others))
        if self.gate.is_open and not {"timeout", "url"}.intersection(others):
            made._timeout = _PATIENT
        self.made = [p for p in self.made if p._sdk is not None] + [made]
        return made

    def control(self, *, url: str = "", token: str = "", timeout: float = 3.0) -> UnleashControl:
        return UnleashControl(
            url or f"{self.gate.url}/api",
            token or self.server.admin_token,
            project="shop",
            environment="test",
            native_environment=ENVIRONMENT,
            timeout=timeout,
        )

    def away(self) -> None:
        """Nobody listens. Starts that wait for it are short from now on."""
        for provider in self.made:
            provider._timeout = self.settings().timeout
        self.gate.shut()

    def back_again(self) -> None:
        """It is there again."""
        self.gate.open()
        for provider in self.made:
            provider._timeout = _PATIENT

    def seen(self) -> None:
        """The server serves what is in its database."""
        newest = self.back.revision()
        with httpx.Client(headers={"Authorization": self.token}, timeout=10) as client:
            etag = ""

            def served() -> bool:
                nonlocal etag
                answer = client.get(f"{self.server.url}/api/client/features", headers={"If-None-Match": etag})
                etag = answer.headers.get("etag", etag)  # a 304 may come without
                return int(etag.split(":")[1]) >= newest

            wait_until(served, why=f"revision {newest}")

    def settle(self) -> None:
        """Every started provider has it too: fetched now, not at the next second."""
        self.seen()
        for provider in list(self.made):
            provider.refresh()


@contextmanager
def vendor(*, quick: bool = True) -> Iterator[Vendor]:
    """A server of one's own, behind a gate."""
    with unleash(quick=quick) as (server, database):
        gate, back = Gate(server.port), BackDoor(database.url())
        try:
            yield Vendor(server, back, gate, database)
        finally:
            back.close()
            gate.shut()


@contextmanager
def refused(control: UnleashControl, token: str) -> Iterator[None]:
    """The control writes with another token, a client's for one, with which nobody may."""
    kept = control._api.writes
    control._api.writes = replace(kept, headers={"Authorization": token})
    try:
        yield
    finally:
        control._api.writes.close()
        control._api.writes = kept


@contextmanager
def asked(control: UnleashControl, here: Vendor) -> Iterator[None]:
    """The environment wants change requests, and the control has the token of a person who may not go past them."""
    with change_requests(here.database.url()), refused(control, editor_token(here.server)):
        yield


@contextmanager
def harness(here: Vendor, wrap: Wrap = lambda provider: provider) -> Iterator[Harness]:
    """The harness for one class of rules."""
    with silent() as port, closing(here.control()) as control:
        made = Harness(
            lambda: wrap(here.provider()),
            here.back.put,
            remove=here.back.remove,
            settle=here.settle,
            break_vendor=here.away,
            restore_vendor=here.back_again,
            make_rejected=lambda: wrap(here.provider(token="default:development.wrong")),
            make_hanging=lambda: wrap(here.provider(url=f"http://127.0.0.1:{port}/api")),
            control=control,
            refuse={
                "NotAllowed": lambda: refused(control, here.token),
                "ApprovalRequired": lambda: asked(control, here),
            },
            cannot_refuse={
                "RetryLater": "the admin API has no rate limit",
            },
            known_deviations=DEVIATIONS,
            secrets=(here.token, here.server.admin_token),
        )
        with made:
            yield made
