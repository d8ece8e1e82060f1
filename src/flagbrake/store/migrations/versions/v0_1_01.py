"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "v0_1_01"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "flagbrake_adoption",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("role", sa.String(length=50), nullable=False),
        sa.Column("table_name", sa.String(length=200), nullable=False),
        sa.Column("columns", sa.Text(), nullable=False),
        sa.Column("adopted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "role", name=op.f("pk_flagbrake_adoption")),
    )
    op.create_table(
        "flagbrake_audit",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=300), nullable=False),
        sa.Column("action", sa.String(length=100), nullable=False),
        sa.Column("subject", sa.String(length=500), nullable=False),
        sa.Column("lane", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("previous", sa.String(length=64), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "seq", name=op.f("pk_flagbrake_audit")),
    )
    op.create_index(
        op.f("ix_flagbrake_audit_project_environment_subject_seq"),
        "flagbrake_audit",
        ["project", "environment", "subject", "seq"],
        unique=False,
    )
    op.create_table(
        "flagbrake_engine",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("host", sa.String(length=300), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("left_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("project", "environment", "id", name=op.f("pk_flagbrake_engine")),
    )
    op.create_table(
        "flagbrake_flag",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "key", name=op.f("pk_flagbrake_flag")),
    )
    op.create_index(
        op.f("ix_flagbrake_flag_project_environment_revision"),
        "flagbrake_flag",
        ["project", "environment", "revision"],
        unique=False,
    )
    op.create_table(
        "flagbrake_kill",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("scope", sa.String(length=500), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("prior", sa.Text(), nullable=False),
        sa.Column("prior_checksum", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "id", name=op.f("pk_flagbrake_kill")),
    )
    op.create_table(
        "flagbrake_kill_lifted",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("scope", sa.String(length=500), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("prior", sa.Text(), nullable=False),
        sa.Column("prior_checksum", sa.String(length=64), nullable=False),
        sa.Column("lifted_at", sa.BigInteger(), nullable=False),
        sa.Column("lifted_by", sa.String(length=300), nullable=False),
        sa.Column("lifted_reason", sa.Text(), nullable=False),
        sa.Column("lifted_epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "id", name=op.f("pk_flagbrake_kill_lifted")),
    )
    op.create_table(
        "flagbrake_lock",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("name", sa.String(length=500), nullable=False),
        sa.Column("owner", sa.String(length=300), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "name", name=op.f("pk_flagbrake_lock")),
    )
    op.create_table(
        "flagbrake_manifest",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "key", name=op.f("pk_flagbrake_manifest")),
    )
    op.create_index(
        op.f("ix_flagbrake_manifest_project_environment_revision"),
        "flagbrake_manifest",
        ["project", "environment", "revision"],
        unique=False,
    )
    op.create_table(
        "flagbrake_outcome",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("run_id", sa.String(length=100), nullable=False),
        sa.Column("metric", sa.String(length=200), nullable=False),
        sa.Column("flag", sa.String(length=300), nullable=False),
        sa.Column("variant", sa.String(length=300), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("unit", sa.String(length=100), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.Column("result", sa.String(length=20), nullable=False),
        sa.Column("error_type", sa.String(length=300), nullable=False),
        sa.Column("duration_ms", sa.Float(precision=53), nullable=True),
        sa.Column("value", sa.Float(precision=53), nullable=True),
        sa.Column("token", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "result in ('success', 'failure', 'killed', 'abandoned')", name=op.f("ck_flagbrake_outcome_result")
        ),
        sa.PrimaryKeyConstraint("project", "environment", "run_id", "metric", name=op.f("pk_flagbrake_outcome")),
    )
    op.create_index(
        "ix_flagbrake_outcome_window",
        "flagbrake_outcome",
        ["project", "environment", "flag", "metric", "started_at"],
        unique=False,
    )
    op.create_table(
        "flagbrake_process",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("host", sa.String(length=300), nullable=False),
        sa.Column("pid", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("applied_at", sa.BigInteger(), nullable=True),
        sa.Column("left_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_flagbrake_process")),
    )
    op.create_index(
        op.f("ix_flagbrake_process_project_environment_seen_at"),
        "flagbrake_process",
        ["project", "environment", "seen_at"],
        unique=False,
    )
    op.create_table(
        "flagbrake_revision",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("kill_epoch", sa.BigInteger(), nullable=False),
        sa.Column("audit_seq", sa.BigInteger(), nullable=False),
        sa.Column("audit_hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", name=op.f("pk_flagbrake_revision")),
    )
    op.create_table(
        "flagbrake_rollout",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("flag", sa.String(length=300), nullable=False),
        sa.Column("active_flag", sa.String(length=300), nullable=True),
        sa.Column("status", sa.String(length=50), nullable=False),
        sa.Column("plan", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.String(length=300), nullable=False),
        sa.Column("fence", sa.BigInteger(), nullable=False),
        sa.Column("lease_expires_at", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=300), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "id", name=op.f("pk_flagbrake_rollout")),
        sa.UniqueConstraint(
            "project", "environment", "active_flag", name=op.f("uq_flagbrake_rollout_project_environment_active_flag")
        ),
    )
    op.create_table(
        "flagbrake_rollout_event",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("rollout_id", sa.String(length=100), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=100), nullable=False),
        sa.Column("by", sa.String(length=300), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("data", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "rollout_id", "seq", name=op.f("pk_flagbrake_rollout_event")),
    )
    op.create_table(
        "flagbrake_segment",
        sa.Column("project", sa.String(length=190), nullable=False),
        sa.Column("environment", sa.String(length=190), nullable=False),
        sa.Column("key", sa.String(length=300), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("checksum", sa.String(length=64), nullable=False),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("archived", sa.Boolean(), nullable=False),
        sa.Column("deleted", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("project", "environment", "key", name=op.f("pk_flagbrake_segment")),
    )
    op.create_index(
        op.f("ix_flagbrake_segment_project_environment_revision"),
        "flagbrake_segment",
        ["project", "environment", "revision"],
        unique=False,
    )
