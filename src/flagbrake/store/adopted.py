"""Rows of tables that other software made, read as flags and kills. Pure, apart from the SELECTs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from flagbrake.errors import FlagbrakeError, InvalidInput
from flagbrake.model.codec import dumps, flag_to_data
from flagbrake.model.flag import Flag, Serve, Targets, ramp
from flagbrake.model.kill import EVERYTHING, Kill, Scope, ScopeKind
from flagbrake.model.values import WHOLE, share_of

#: The lane of a kill that stands in somebody else's table.
LANE: Final = "adopted"
#: Names of a kill switch that mean everything.
_ALL: Final = frozenset(("*", "all", "global", "everything"))
#: One element of a PostgreSQL array: quoted, or plain.
_ITEM: Final = re.compile(r'"((?:[^"\\]|\\.)*)"|([^",{}\\]+)', re.DOTALL)
_TRUE: Final = frozenset(("1", "t", "true", "y", "yes", "on"))
_FALSE: Final = frozenset(("0", "f", "false", "n", "no", "off"))


class Role(StrEnum):
    """What an adopted table is."""

    FLAGS = "flags"
    KILLS = "kills"
    OUTCOMES = "outcomes"


#: The tables many teams start with: name, the columns it must have, the others that are read.
TABLES: Final[Mapping[Role, tuple[str, tuple[str, ...], tuple[str, ...]]]] = {
    Role.FLAGS: ("feature_flags", ("name", "enabled"), ("rollout_percentage", "whitelist")),
    Role.KILLS: ("kill_switches", ("name", "active"), ("reason", "activated_by", "activated_at")),
    Role.OUTCOMES: ("agent_logs", ("version", "success"), ("error", "latency_ms", "timestamp")),
}


@dataclass(frozen=True, slots=True)
class Adopted:
    """One adopted table and which of the known columns it has."""

    role: Role
    table: str
    columns: tuple[str, ...]

    def select(self) -> str:
        """The statement that reads it whole."""
        names = ", ".join(f'"{column}"' for column in self.columns)
        return f'SELECT {names} FROM "{self.table}"'  # noqa: S608 - names were checked against TABLES at adoption

    def rows(self, found: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        """What that statement found, by column."""
        return [dict(zip(self.columns, row, strict=True)) for row in found]


def flags_of(rows: list[dict[str, Any]]) -> tuple[dict[str, str], dict[str, str]]:
    """Canonical documents by name, and why other names have none."""
    documents: dict[str, str] = {}
    faults: dict[str, str] = {}
    for row in rows:
        name = row["name"]
        if not isinstance(name, str) or not name:
            faults[repr(name)] = "its name is not a text."
        elif name in documents or name in faults:
            documents.pop(name, None)
            faults[name] = "there are several rows of this name."
        else:
            try:
                documents[name] = dumps(flag_to_data(flag_of(row)))
            except FlagbrakeError as error:
                faults[name] = error.fact
    return documents, faults


def flag_of(row: Mapping[str, Any]) -> Flag:
    """``enabled`` -> on; ``rollout_percentage`` -> the share of ``on``; ``whitelist`` -> targets of ``on``.

    Raises:
        InvalidInput: a column holds something else.
    """
    share = WHOLE if row.get("rollout_percentage") is None else share_of(row["rollout_percentage"])
    serve: Serve = {0: "off", WHOLE: "on"}.get(share) or ramp("on", share, "off")
    keys = _names_of(row.get("whitelist"))
    targets = (Targets("on", keys),) if keys else ()
    flag = Flag.boolean(row["name"], on=_truth(row["enabled"], "enabled"), targets=targets)
    return replace(flag, default=serve)


def kill_of(row: Mapping[str, Any], *, environment: str, epoch: int, is_flag: bool) -> tuple[Kill, str] | None:
    """The kill of a row and what is wrong with the row ("" when nothing is), ``None`` for an inactive one.

    What cannot be read counts as killed.
    """
    active = _active(row)
    if active is False:
        return None
    name = str(row["name"])
    wrong = "" if active else f"its column active is {row['active']!r}"
    try:
        scope = scope_of(name, is_flag=is_flag)
    except InvalidInput as error:
        scope, wrong = EVERYTHING, error.fact
    kill = Kill(
        id=f"{LANE}:{name}",
        scope=scope,
        environment=environment,
        reason=_text(row.get("reason")) or f"the kill switch '{name}' is active",
        by=_text(row.get("activated_by")) or "unknown",
        at=_moment(row.get("activated_at")),
        epoch=epoch,
        lane=LANE,
        corrupt=bool(wrong),
    )
    return kill, wrong


def scope_of(name: str, *, is_flag: bool) -> Scope:
    """``kind:path`` is that scope, ``all`` and its like everything, a flag's name that flag, else it is an agent.

    Raises:
        InvalidInput: nothing of the kind.
    """
    if name.lower() in _ALL:
        return EVERYTHING
    if ":" in name:
        return Scope.parse(name)
    kind = ScopeKind.FLAG if is_flag else ScopeKind.AGENT
    return Scope.parse(f"{kind}:{name}")


def _active(row: Mapping[str, Any]) -> bool | None:
    try:
        return _truth(row["active"], "active")
    except InvalidInput:
        return None


def _truth(value: Any, column: str) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise InvalidInput(f"{column} is {value!r}, neither true nor false.", cure="TRUE or FALSE")


def _names_of(value: Any) -> tuple[str, ...]:
    """A JSON list, a PostgreSQL array or a comma list; nothing is an empty one."""
    if value is None:
        return ()
    if isinstance(value, (list, tuple)):
        found = list(value)
    else:
        text = str(value).strip()
        if text.startswith("["):
            try:
                found = json.loads(text)
            except ValueError:
                raise _no_list() from None
        elif text.startswith("{"):
            found = list(_array(text))
        else:
            found = [part.strip() for part in text.split(",") if part.strip()]
    if not all(isinstance(item, (str, int)) and not isinstance(item, bool) for item in found):
        raise InvalidInput("whitelist holds something other than names.", cure='["dana", "ken"]')
    return tuple(dict.fromkeys(str(item) for item in found))


def _array(text: str) -> Iterator[str]:
    """PostgreSQL's text form of a one-dimensional array: ``{a,"b, c"}`` (its manual, 8.15.6)."""
    at, inside = 1, text[:-1]
    while at < len(inside):
        item = _ITEM.match(inside, at)
        if item is None or not text.endswith("}"):
            raise _no_list()
        yield item[2].strip() if item[1] is None else re.sub(r"\\(.)", r"\1", item[1], flags=re.DOTALL)
        at = item.end()
        if at < len(inside):
            if inside[at] != ",":
                raise _no_list()
            at += 1


def _no_list() -> InvalidInput:
    return InvalidInput("whitelist is not a list of names.", cure='["dana", "ken"]')


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _moment(value: Any) -> datetime:
    """When, as well as it can be read; a kill does not depend on it."""
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
