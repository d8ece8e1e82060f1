"""Level 0: a vendor and nothing else. Kills are the vendor's own flags, for processes and for operators."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ProviderNotReadyError

import flagbrake
from flagbrake.errors import ConfigError, NotFound, Unsupported
from flagbrake.kill import runtime
from flagbrake.model.flag import Flag, Variant
from flagbrake.model.kill import KillMode
from flagbrake.model.values import FlagKind
from flagbrake.wiring.health import examine
from tests.support.command import Shell
from tests.support.waiting import wait_until
from tests.wiring import elsewhere

ROOT = Path(__file__).parents[2]
SETTINGS = """
use = "elsewhere"
state_dir = "state"
single_controller = true
[elsewhere]
url = "sqlite:///{folder}/vendor.db"
state = "{folder}/feed"
[flags.checkout]
safe_variant = "v1"
scopes = ["agent:refunds"]
"""


@pytest.fixture
def vendor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[elsewhere.Vendor]:
    """A vendor with one flag, and a folder with settings for it."""
    elsewhere.install(tmp_path / "site")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.chdir(tmp_path)
    configure(tmp_path)
    made = elsewhere.Vendor(f"sqlite:///{tmp_path}/vendor.db")
    made.put(Flag("checkout", FlagKind.STRING, (Variant("v1", "one"), Variant("v2", "two")), "v2", off_variant="v1"))
    yield made
    api.shutdown()
    made.close()


def configure(folder: Path, more: str = "") -> None:
    """Write flagbrake.toml."""
    text = SETTINGS.format(folder=folder)
    (folder / "flagbrake.toml").write_text(text + more, encoding="utf-8")


def checkout() -> str:
    """What an application gets."""
    return api.get_client().get_string_value("checkout", "default")


def test_a_kill_made_by_the_operator_stops_the_application(vendor):
    """`kill` writes the vendor's flag, the application serves its safe variant, `restore` gives it back."""
    api.set_provider_and_wait(flagbrake.provider())
    assert checkout() == "two"
    with flagbrake.control_plane() as plane:
        receipt = plane.switch.kill("agent:refunds", by="ann", reason="it burns")
        assert str(receipt.hearing).startswith("level 0: no process reports; written and read back in elsewhere")
        assert not receipt.hearing.complete
        wait_until(lambda: checkout() == "one", why="the kill")
        with pytest.raises(flagbrake.Halted):
            flagbrake.halt.check("agent:refunds.tools")
        (standing,) = plane.switch.standing().kills
        assert (standing.kill.by, standing.kill.reason, standing.kill.id) == ("ann", "it burns", receipt.kill.id)
        assert vendor.control.read("kill.agent.refunds").flag.on
        plane.switch.restore("agent:refunds", by="bob", reason="fixed")
        wait_until(lambda: checkout() == "two", why="the restore")
        assert plane.switch.standing().kills == ()
        assert not vendor.control.read("kill.agent.refunds").flag.on


def test_a_kill_clicked_at_the_vendor_is_seen_listed_and_lifted(vendor):
    """The kill flag switched on in the vendor's own interface is a kill like any other."""
    api.set_provider_and_wait(flagbrake.provider())
    vendor.put(Flag.boolean("kill.everything", description="call the desk"))
    wait_until(lambda: checkout() == "one", why="the kill")
    with flagbrake.control_plane() as plane:
        (standing,) = plane.switch.standing().kills
        assert (str(standing.kill.scope), standing.kill.id) == ("*", "kill.everything")
        assert "call the desk" in standing.kill.reason
        plane.switch.restore("*", by="bob", reason="false alarm")
    wait_until(lambda: checkout() == "two", why="the restore")


def test_a_kill_that_stands_is_in_force_after_the_start(vendor):
    """There is no moment after the start at which the killed flag still serves."""
    vendor.put(Flag.boolean("kill.flag.checkout"))
    api.set_provider_and_wait(flagbrake.provider())
    assert checkout() == "one"


def test_a_kill_again_adds_nothing(vendor):
    """The same kill twice is the first one, with its author."""
    with flagbrake.control_plane() as plane:
        first = plane.switch.kill("agent:refunds", by="ann", reason="it burns")
        second = plane.switch.kill("agent:refunds", by="bob", reason="me too")
        assert second.kill.id == first.kill.id
        assert "killed already, by ann" in second.warnings[0]


def test_a_flag_that_somebody_bent_is_straightened(vendor):
    """A kill flag that would not serve true when it is on is put right by the kill."""
    vendor.put(Flag.boolean("kill.agent.refunds", on=False, default="off"))
    with flagbrake.control_plane() as plane:
        plane.switch.kill("agent:refunds", by="ann", reason="it burns")
    flag = vendor.control.read("kill.agent.refunds").flag
    assert (flag.on, flag.default) == (True, "on")


@pytest.mark.parametrize("options", [{"mode": KillMode.DRAIN}, {"target": "checkout", "serve": "v1"}])
def test_what_a_flag_cannot_say_is_refused(vendor, options):
    """A vendor flag carries a halt; anything else is refused before any lane has it."""
    order = {"target": "agent:refunds", "by": "ann", "reason": "r", **options}
    with flagbrake.control_plane() as plane:
        with pytest.raises(Unsupported, match="carries a halt and nothing else"):
            plane.switch.kill(**order)
        assert plane.switch.standing().kills == ()


def test_an_unknown_scope_is_refused(vendor):
    """Nobody reports, so a typo is the more dangerous: the nearest scope is named."""
    with flagbrake.control_plane() as plane, pytest.raises(NotFound, match="refunds"):
        plane.switch.kill("agent:refund", by="ann", reason="r")


def test_declarations_come_from_the_vendors_flag(vendor):
    """The reserved object flag declares for processes and operators alike, and goes before the file."""
    declared = {"flags": {"checkout": {"safe_variant": "v2", "scopes": ["agent:billing"]}, "broken": {"safe": 1}}}
    variants = (Variant("now", declared), Variant("none", {}))
    vendor.put(Flag("flagbrake.manifest", FlagKind.OBJECT, variants, "now", off_variant="none"))
    api.set_provider_and_wait(flagbrake.provider())
    with flagbrake.control_plane() as plane:
        assert plane.manifest().get("checkout").safe_variant == "v2"
        plane.switch.kill("agent:billing", by="ann", reason="r")
    details = api.get_client().get_string_details("checkout", "default")
    wait_until(lambda: checkout_details().flag_metadata.get("killed"), why="the kill")
    assert checkout_details().variant == "v2", details


def checkout_details():
    """The whole answer."""
    return api.get_client().get_string_details("checkout", "default")


def test_doctor_names_the_level_and_stray_names(vendor):
    """Level 0 is said, and a flag that only looks like a kill is listed."""
    vendor.put(Flag.boolean("kill.switch.payments"))
    with flagbrake.control_plane() as plane:
        findings = list(examine(plane))
    told = {finding.subject: finding for finding in findings}
    assert "level 0" in told["settings"].text
    assert "no process reports" in told["processes"].text
    assert (told["reserved"].level, "kill.switch.payments" in told["reserved"].text) == ("warning", True)
    assert all("kill." not in f.text for f in findings if f.subject == "flags")
    assert [f for f in findings if f.level == "failure"] == []


def test_without_the_word_nothing_is_written(vendor, tmp_path):
    """No store and no `single_controller`: the control plane does not open, and says both cures."""
    path = tmp_path / "flagbrake.toml"
    path.write_text(path.read_text().replace("single_controller = true", ""))
    with pytest.raises(ConfigError, match="single_controller = true"):
        flagbrake.control_plane()


@pytest.mark.parametrize("line", ['single_controller = "perhaps"', '[kill]\nflags = "perhaps"'])
def test_switches_of_the_configuration_are_true_or_false(tmp_path, line):
    """Anything else is refused by the name that stands in the file."""
    (tmp_path / "flagbrake.toml").write_text(line)
    with pytest.raises(ConfigError, match=r"'(single_controller|kill\.flags)' is 'perhaps'"):
        flagbrake.control_plane(tmp_path / "flagbrake.toml")


def test_level_1_writes_flags_only_when_asked(vendor, tmp_path):
    """With a store, kills go to the store; with `[kill] flags`, to the vendor's flag as well. Both are lifted."""
    with_store = f'[store]\nurl = "sqlite:///{tmp_path}/store.db"\n'
    order = {"by": "ann", "reason": "r", "arm": True}
    configure(tmp_path, with_store)
    with flagbrake.control_plane(create=True) as plane:
        plane.switch.kill("agent:refunds", **order)
        with pytest.raises(NotFound):
            vendor.control.read("kill.agent.refunds")
        plane.switch.restore("agent:refunds", by="ann", reason="r")
    configure(tmp_path, with_store + "[kill]\nflags = true\n")
    with flagbrake.control_plane() as plane:
        receipt = plane.switch.kill("agent:refunds", **order)
        assert [lane.lane for lane in receipt.lanes][:2] == ["store", "vendor-flag"]
        (standing,) = plane.switch.standing().kills
        assert (standing.lanes[:2], standing.pending) == (("store", "vendor-flag"), ())
        plane.switch.restore("agent:refunds", by="ann", reason="r")
        assert plane.switch.standing().kills == ()
        assert not vendor.control.read("kill.agent.refunds").flag.on


def test_level_1_shows_and_lifts_what_was_clicked_at_the_vendor(vendor, tmp_path):
    """Processes obey the vendor's flag at level 1 too, so the operator sees it, marked as no lane's duty."""
    configure(tmp_path, f'[store]\nurl = "sqlite:///{tmp_path}/store.db"\n')
    vendor.put(Flag.boolean("kill.tool.mailer"))
    with flagbrake.control_plane(create=True) as plane:
        (standing,) = plane.switch.standing().kills
        assert (str(standing.kill.scope), standing.lanes, standing.pending) == ("tool:mailer", ("vendor-flag",), ())
        assert plane.switch.retry_pending() == ()
        receipt = plane.switch.restore("tool:mailer", by="ann", reason="r")
        assert "read back in elsewhere" in str(receipt.hearing)
        assert plane.switch.standing().kills == ()


def test_level_1_of_both_lanes_is_the_union(vendor, tmp_path):
    """A process with a store obeys the store and the vendor's flag, each for itself."""
    configure(tmp_path, f'[store]\nurl = "sqlite:///{tmp_path}/store.db"\n')
    with flagbrake.control_plane(create=True) as plane:
        api.set_provider_and_wait(flagbrake.provider())
        assert set(runtime.current().board.state.lanes) == {"store", "flags"}
        vendor.put(Flag.boolean("kill.flag.checkout"))
        wait_until(lambda: checkout() == "one", why="the vendor's kill")
        plane.switch.kill("agent:refunds", by="ann", reason="r")
        vendor.switch("kill.flag.checkout", on=False)
        wait_until(lambda: {k.lane for k in runtime.current().board.standing()} == {"store"}, why="the lifting")
        assert checkout() == "one"


def test_a_vendor_that_comes_late_finds_the_kill_switch_running(vendor, tmp_path):
    """A start without the vendor is told, and when the vendor comes the kills of both lanes are in force."""
    configure(tmp_path, f'[store]\nurl = "sqlite:///{tmp_path}/store.db"\n')
    vendor.put(Flag.boolean("search"))
    vendor.put(Flag.boolean("kill.flag.search"))
    with flagbrake.control_plane(create=True) as plane:
        plane.switch.kill("agent:refunds", by="ann", reason="r", arm=True)
    vendor.close()
    parts = [part for part in tmp_path.glob("vendor.db*") if part.exists()]
    away = tmp_path / "away"
    away.mkdir()
    for part in parts:
        part.rename(away / part.name)
    guard = flagbrake.provider()
    told: list[ProviderEvent] = []
    guard.attach(lambda _provider, event, _details: told.append(event))
    with pytest.raises(ProviderNotReadyError):
        guard.initialize(EvaluationContext())
    try:
        for part in parts:
            (away / part.name).rename(part)
        wait_until(lambda: ProviderEvent.PROVIDER_READY in told, why="the vendor")
        killed = [guard.resolve_string_details("checkout", "d"), guard.resolve_boolean_details("search", False)]
        assert [answer.flag_metadata["kill_scope"] for answer in killed] == ["agent:refunds", "flag:search"]
    finally:
        guard.shutdown()


def test_a_kill_reaches_the_log(vendor, caplog):
    """Kill and restore are in the process's log, with the vendor's flag named."""
    caplog.set_level(logging.WARNING, "flagbrake.wiring")
    api.set_provider_and_wait(flagbrake.provider())
    vendor.put(Flag.boolean("kill.flag.checkout"))
    wait_until(lambda: "'kill.flag.checkout' is on" in caplog.text, why="the log")


def test_the_command_line_says_what_it_does_not_know(vendor, tmp_path):
    """`kill` leaves with 0 for what it read back, and says that no process reports; `kills` and `restore` work."""
    (tmp_path / "home").mkdir()
    shell = Shell(tmp_path)
    path = {"PYTHONPATH": f"{tmp_path / 'site'}:{ROOT}"}
    said = shell.ok("kill", "agent:refunds", "--reason", "it burns", **path)
    assert "environment development" in said.out
    assert "level 0" in said.out.splitlines()[0]
    assert "level 0: no process reports; written and read back in elsewhere, environment development" in said.out
    assert "it burns" in shell.ok("kills", **path).out
    assert "checkout" in shell.ok("kill", "agent:refunds", "--preview", **path).out
    assert "is restored" in shell.ok("restore", "agent:refunds", "--reason", "fixed", **path).out
    assert "Nothing is killed" in shell.ok("kills", **path).out
    assert "level 0" in shell.ok("doctor", **path).out
