"""The tables, as SQLAlchemy Core metadata; Alembic's migrations make the same (a test proves it).

Every table starts with ``flagbrake_`` so that it can live in a database that has other tables. Times are
BIGINT microseconds since 1970 in UTC, JSON is canonical TEXT: both mean the same on every database.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

#: The newest migration this code knows; ``vMAJOR_MINOR_NN`` names the release that brought it.
SCHEMA_HEAD: Final = "v0_1_01"
#: Alembic's own table, under our prefix.
VERSION_TABLE: Final = "flagbrake_schema"

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def micros(moment: datetime) -> int:
    """A moment as it is stored: whole microseconds since 1970 in UTC, without the rounding of floats."""
    if moment.tzinfo is None:  # read as UTC everywhere in flagbrake
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // _MICROSECOND


def moment(stored: int) -> datetime:
    """A stored time as an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=stored)


def clean(value: str, limit: int | None = None) -> str:
    """A text as every database takes it: no NUL, no half of a surrogate pair, at most ``limit`` characters.

    For what comes from outside and must not make a write fail: reasons, names of errors and people.
    """
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()[:limit]


def _home() -> tuple[Column[str], Column[str]]:
    """Every row belongs to one environment of one project."""
    return Column("project", String(190), nullable=False), Column("environment", String(190), nullable=False)


def _documents(name: str) -> Table:
    """Flags, segments and declarations are stored alike: the document and what tells it from its other versions.

    A deleted row stays as a tombstone, so that a watcher learns of it from its revision.
    """
    return Table(
        name,
        metadata,
        *_home(),
        Column("key", String(300), nullable=False),
        Column("document", Text, nullable=False),
        Column("checksum", String(64), nullable=False),
        Column("revision", BigInteger, nullable=False),
        Column("version", BigInteger, nullable=False),
        Column("updated_at", BigInteger, nullable=False),
        Column("archived", Boolean, nullable=False),
        Column("deleted", Boolean, nullable=False),
        PrimaryKeyConstraint("project", "environment", "key"),
        Index(None, "project", "environment", "revision"),
    )


#: One row per environment, locked by every control transaction: revision, epoch of the last kill or lift,
#: and the head of the audit chain. ``max(revision)`` over rows would miss what commits out of order.
revision = Table(
    "flagbrake_revision",
    metadata,
    *_home(),
    Column("revision", BigInteger, nullable=False),
    Column("kill_epoch", BigInteger, nullable=False),
    Column("audit_seq", BigInteger, nullable=False),
    Column("audit_hash", String(64), nullable=False),
    PrimaryKeyConstraint("project", "environment"),
)

flag = _documents("flagbrake_flag")
segment = _documents("flagbrake_segment")
manifest = _documents("flagbrake_manifest")


def _kill_columns() -> tuple[Column[str] | Column[int] | Column[str | None], ...]:
    return (
        *_home(),
        Column("id", String(100), nullable=False),
        Column("scope", String(500), nullable=False),
        Column("document", Text, nullable=False),
        Column("epoch", BigInteger, nullable=False),
        Column("checksum", String(64), nullable=False),
        # What the killed flags were before: compared by restore, so it has its own checksum.
        Column("prior", Text, nullable=False),
        Column("prior_checksum", String(64), nullable=False),
    )


#: Standing kills only: a lifted one moves to the next table, so no damaged column can lift a kill.
kill = Table("flagbrake_kill", metadata, *_kill_columns(), PrimaryKeyConstraint("project", "environment", "id"))

kill_lifted = Table(
    "flagbrake_kill_lifted",
    metadata,
    *_kill_columns(),
    Column("lifted_at", BigInteger, nullable=False),
    Column("lifted_by", String(300), nullable=False),
    Column("lifted_reason", Text, nullable=False),
    Column("lifted_epoch", BigInteger, nullable=False),
    PrimaryKeyConstraint("project", "environment", "id"),
)

process = Table(
    "flagbrake_process",
    metadata,
    Column("id", String(100), nullable=False),
    *_home(),
    Column("name", String(300), nullable=False),
    Column("host", String(300), nullable=False),
    Column("pid", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("applied_at", BigInteger),
    Column("left_at", BigInteger),
    PrimaryKeyConstraint("id"),
    Index(None, "project", "environment", "seen_at"),
)

audit = Table(
    "flagbrake_audit",
    metadata,
    *_home(),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("by", String(300), nullable=False),
    Column("action", String(100), nullable=False),
    Column("subject", String(500), nullable=False),
    Column("lane", String(100), nullable=False),
    Column("reason", Text, nullable=False),
    Column("before", Text),
    Column("after", Text),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
    PrimaryKeyConstraint("project", "environment", "seq"),
    Index(None, "project", "environment", "subject", "seq"),
)

lock = Table(
    "flagbrake_lock",
    metadata,
    *_home(),
    Column("name", String(500), nullable=False),
    # Empty when nobody holds it; the row stays, because the fence must only grow.
    Column("owner", String(300), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("project", "environment", "name"),
)

rollout = Table(
    "flagbrake_rollout",
    metadata,
    *_home(),
    Column("id", String(100), nullable=False),
    Column("flag", String(300), nullable=False),
    # The flag's key while the rollout is active, else NULL: one active rollout per flag, enforced below
    # without a partial index, which not every database has.
    Column("active_flag", String(300)),
    Column("status", String(50), nullable=False),
    Column("plan", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("due_at", BigInteger),
    Column("owner", String(300), nullable=False),
    Column("fence", BigInteger, nullable=False),
    Column("lease_expires_at", BigInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("created_by", String(300), nullable=False),
    Column("updated_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("project", "environment", "id"),
    UniqueConstraint("project", "environment", "active_flag"),
)

rollout_event = Table(
    "flagbrake_rollout_event",
    metadata,
    *_home(),
    Column("rollout_id", String(100), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("kind", String(100), nullable=False),
    Column("by", String(300), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", Text, nullable=False),
    PrimaryKeyConstraint("project", "environment", "rollout_id", "seq"),
)

outcome = Table(
    "flagbrake_outcome",
    metadata,
    *_home(),
    Column("run_id", String(100), nullable=False),
    Column("metric", String(200), nullable=False),
    Column("flag", String(300), nullable=False),
    Column("variant", String(300), nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("unit", String(100), nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger, nullable=False),
    Column("result", String(20), nullable=False),
    Column("error_type", String(300), nullable=False),
    Column("duration_ms", Float(53)),
    Column("value", Float(53)),
    Column("token", Text, nullable=False),
    PrimaryKeyConstraint("project", "environment", "run_id", "metric"),
    Index("ix_flagbrake_outcome_window", "project", "environment", "flag", "metric", "started_at"),
    CheckConstraint(text("result in ('success', 'failure', 'killed', 'abandoned')"), name="result"),
)

#: Tables of other software that are served in place (``init --adopt``): ``role`` is flags, kills or outcomes.
adoption = Table(
    "flagbrake_adoption",
    metadata,
    *_home(),
    Column("role", String(50), nullable=False),
    Column("table_name", String(200), nullable=False),
    # The columns it has of those that are read, as a JSON list.
    Column("columns", Text, nullable=False),
    Column("adopted_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("project", "environment", "role"),
)

engine = Table(
    "flagbrake_engine",
    metadata,
    *_home(),
    Column("id", String(100), nullable=False),
    Column("host", String(300), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("left_at", BigInteger),
    PrimaryKeyConstraint("project", "environment", "id"),
)
