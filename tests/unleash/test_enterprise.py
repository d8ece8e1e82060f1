"""What Enterprise adds, as far as the open-source server enforces it: what is refused there is refused with the reason.

Its tables for change requests and release plans are there, and its services look at the first and serve the second;
only the API that fills them is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest

from flagbrake.errors import ApprovalRequired, NotFound
from flagbrake.model.flag import Flag, Targets, Variant, ramp
from flagbrake.model.state import Change, Create, Replace, SetDistribution, SetOn, SetTargets
from flagbrake.model.values import FlagKind
from flagbrake_unleash.control import UnleashControl
from tests.unleash.backdoor import ENVIRONMENT
from tests.unleash.enterprise import change_requests, editor_token
from tests.unleash.harnesses import Vendor


def text(key: str, **rest) -> Flag:
    settings = {"default": ramp("v2", 10_000, "v1"), "off_variant": "v1", **rest}
    return Flag(key, FlagKind.STRING, (Variant("v1", "one"), Variant("v2", "two")), **settings)


CHANGES: dict[str, Callable[[str], Change]] = {
    "off": lambda key: SetOn(key, on=False),
    "ramp": lambda key: SetDistribution(key, ramp("v2", 20_000, "v1")),
    "targets": lambda key: SetTargets(key, (Targets("v2", ("ann",)),)),
    "definition": lambda key: Replace(text(key, description="made anew", default="v2", tags=("new",))),
}


@pytest.fixture(scope="module")
def editor(quick_vendor: Vendor) -> Iterator[UnleashControl]:
    with closing(quick_vendor.control(token=editor_token(quick_vendor.server))) as control:
        yield control


@pytest.mark.parametrize("name", CHANGES)
def test_change_requests_refuse_a_write_as_such(quick_vendor: Vendor, editor: UnleashControl, name: str) -> None:
    """Where the environment wants change requests the error says so, and nothing at all was written."""
    key = f"asked-{name}"
    quick_vendor.back.put(text(key))
    before = editor.read(key)
    with change_requests(quick_vendor.database.url()):
        with pytest.raises(ApprovalRequired, match="wants a change request"):
            editor.apply(CHANGES[name](key))
        assert editor.read(key).native == before.native
    assert editor.apply(CHANGES[name](key)).native != before.native


def test_a_flag_that_cannot_be_made_is_not_there(quick_vendor: Vendor, editor: UnleashControl) -> None:
    """A feature may be made without a request and its strategies may not: nobody reads the half of it."""
    with change_requests(quick_vendor.database.url()):
        with pytest.raises(ApprovalRequired, match="wants a change request"):
            editor.apply(Create(text("asked-new")))
        with pytest.raises(NotFound):
            editor.read("asked-new")
    assert editor.apply(Create(text("asked-new"))).flag.on


def test_an_administrator_goes_past_change_requests(quick_vendor: Vendor) -> None:
    """So a kill by an administrator's token is one, as in Unleash."""
    quick_vendor.back.put(text("asked-admin"))
    with change_requests(quick_vendor.database.url()), closing(quick_vendor.control()) as admin:
        assert not admin.apply(SetOn("asked-admin", on=False)).flag.on


@contextmanager
def release_plan(here: Vendor, key: str) -> Iterator[None]:
    """A plan whose first milestone is active: it owns a strategy of the flag's."""
    plan, milestone = f"plan-{key}", f"milestone-{key}"
    with psycopg.connect(here.database.url(), autocommit=True) as conn:
        (user,) = conn.execute("SELECT min(id) FROM users").fetchone() or (1,)
        conn.execute(
            "INSERT INTO release_plan_definitions (id, discriminator, name, feature_name, environment,"
            " created_by_user_id) VALUES (%s, 'plan', 'Carefully', %s, %s, %s)",
            (plan, key, ENVIRONMENT, user),
        )
        conn.execute(
            "INSERT INTO milestones (id, name, sort_order, release_plan_definition_id) VALUES (%s, 'first', 0, %s)",
            (milestone, plan),
        )
        conn.execute(
            "UPDATE feature_strategies SET milestone_id = %s WHERE feature_name = %s AND sort_order ="
            " (SELECT min(sort_order) FROM feature_strategies WHERE feature_name = %s)",
            (milestone, key, key),
        )
        yield


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "off"])
def test_a_release_plan_is_not_written_over(quick_vendor: Vendor, name: str) -> None:
    """Strategies of a release plan are served beside what is written and shown by no feature's document: refused."""
    key = f"planned-{name}"
    quick_vendor.back.put(text(key, targets=(Targets("v2", ("bob",)),)))
    with release_plan(quick_vendor, key), closing(quick_vendor.control()) as control:
        before = control.read(key)
        with pytest.raises(ApprovalRequired, match="release plan"):
            control.apply(CHANGES[name](key))
        assert control.read(key).native == before.native


def test_a_release_plan_does_not_keep_a_flag_on(quick_vendor: Vendor) -> None:
    """Off is off, whoever owns the strategies."""
    quick_vendor.back.put(text("planned-off"))
    with release_plan(quick_vendor, "planned-off"), closing(quick_vendor.control()) as control:
        assert not control.apply(SetOn("planned-off", on=False), by="ann", comment="it burns").flag.on


@pytest.mark.parametrize(
    "path",
    [
        "/projects/default/change-requests/config",
        "/release-plan-templates",
        "/service-account",
        "/environments/x/clone",
    ],
)
def test_what_the_open_source_server_has_not(quick_vendor: Vendor, path: str) -> None:
    """A path that only Enterprise has is NotFound, and the cure says so; the doctor's remarks do without."""
    with closing(quick_vendor.control()) as control:
        said = [remark.text for remark in control.remarks()]
        assert "reads" in said[0]
        assert not any("change request" in text for text in said)
        with pytest.raises(NotFound, match="Enterprise"):
            control._api.reads.get(path)
