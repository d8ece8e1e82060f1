"""A vendor elsewhere: flags in a database that flagbrake does not take for its store."""

from __future__ import annotations

from pathlib import Path

from flagbrake.model.flag import Flag
from flagbrake.model.state import Change, Create, SetOn
from flagbrake.ports.adapter import Adapter
from flagbrake.store import open_store
from flagbrake.store.feed import StoreFeed
from flagbrake_sql.control import SqlControl
from flagbrake_sql.provider import SqlProvider


class ElsewhereProvider(SqlProvider):
    """Serves that vendor's flags."""

    name = "elsewhere"


class ElsewhereControl(SqlControl):
    """Writes them; what the vendor notes for itself is none of ours."""

    name = "elsewhere"
    audits_itself = False


class Elsewhere(Adapter):
    """The adapter, with the address as its only option."""

    name = "elsewhere"
    options = {"url": "where the vendor is", "state": "a folder"}  # noqa: RUF012 - as the port has it

    def provider(self, settings):
        """A feed of its own, as a vendor's SDK has."""
        where = {"project": settings.project, "environment": settings.environment}
        feed = StoreFeed(settings.options["url"], **where, state_dir=Path(settings.options["state"]))
        return ElsewhereProvider(feed, timeout=2.0)

    def control(self, settings):
        """The vendor's management side."""
        store = open_store(settings.options["url"], project=settings.project, environment=settings.environment)
        return ElsewhereControl(store)


class Vendor:
    """The vendor's own interface: what people click."""

    def __init__(self, url: str) -> None:
        self._store = open_store(url, project="default", environment="development", create=True)
        self.control = SqlControl(self._store)

    def put(self, flag: Flag) -> None:
        """A new flag."""
        self.write(Create(flag))

    def switch(self, key: str, *, on: bool) -> None:
        """On or off."""
        self.write(SetOn(key, on=on))

    def write(self, change: Change) -> None:
        """Any change."""
        self.control.apply(change, by="somebody", comment="clicked")

    def close(self) -> None:
        """Close the database."""
        self._store.close()


def install(site: Path) -> None:
    """Put the adapter into a folder as an installed distribution has it."""
    info = site / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flagbrake.adapters]\nelsewhere = tests.wiring.elsewhere:Elsewhere\n")
