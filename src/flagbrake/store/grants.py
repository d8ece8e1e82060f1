"""The restricted role: what an agent's database user may do, as SQL to run once."""

from __future__ import annotations

import re
from typing import Final

from flagbrake.errors import InvalidInput
from flagbrake.store import schema

#: Tables an agent reads whole: what it serves from, and which schema this is.
_READ: Final = (
    schema.VERSION_TABLE,
    schema.revision.name,
    schema.flag.name,
    schema.segment.name,
    schema.manifest.name,
    schema.kill.name,
    schema.adoption.name,
)
#: What an agent may change in its own row of the process table.
_BEAT: Final = ("seen_at", "epoch", "applied_at", "left_at")

_SQLITE: Final = """\
-- SQLite has no roles: who may write the file may change flags and kills.
-- What there is are file permissions. Agents must write the file to record outcomes and acknowledgements,
-- so give the file and its folder to one group of trusted users:
--   chgrp {role} flags.db flags.db-wal flags.db-shm . && chmod 660 flags.db* && chmod 2770 .
-- Agents that must not be able to change a flag need PostgreSQL.
"""


def grants(dialect: str, role: str) -> str:
    """The SQL that gives ``role`` what an agent needs and nothing else; run it as the tables' owner.

    It may read flags, segments, declarations, kills, the revision and the hashes (not the contents) of the
    audit; insert outcomes; insert and update the process table. It cannot change a flag, lift a kill, read
    outcomes or see who did what.

    Args:
        dialect: ``postgresql`` or ``sqlite``.
        role: the name of an existing role.

    Raises:
        InvalidInput: a dialect or a role name that cannot be.
    """
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_$-]{0,62}", role):
        raise InvalidInput(f"{role[:70]!r} is not the name of a role.", cure="letters, digits and _, such as agents")
    if dialect == "sqlite":
        return _SQLITE.format(role=role)
    if dialect != "postgresql":
        raise InvalidInput(f"No grants are known for '{dialect}'.", cure="postgresql or sqlite")
    name = f'"{role}"'
    ours = ", ".join([schema.VERSION_TABLE, *sorted(schema.metadata.tables)])
    return "\n".join(
        (
            f"-- The role of agents: {role}. Run as the owner of the tables, with the search path they are in.",
            # First, so that running it again after an upgrade takes back what an older version gave.
            f"REVOKE ALL ON {ours} FROM {name};",
            f"GRANT SELECT ON {', '.join(_READ)} TO {name};",
            "-- The chain's hashes tell one store from another; who did what stays unread.",
            f"GRANT SELECT (project, environment, seq, hash) ON {schema.audit.name} TO {name};",
            f"GRANT INSERT ON {schema.outcome.name} TO {name};",
            f"GRANT INSERT ON {schema.process.name} TO {name};",
            f"GRANT SELECT (id), UPDATE ({', '.join(_BEAT)}) ON {schema.process.name} TO {name};",
            "",
        )
    )
