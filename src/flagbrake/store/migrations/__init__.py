"""Alembic's environment: no ini file, always inside the transaction of whoever upgrades."""
