"""Run by Alembic; takes the connection it is given and leaves the transaction to its owner."""

from __future__ import annotations

from alembic import context

from flagbrake.store.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=VERSION_TABLE,
)
context.run_migrations()
