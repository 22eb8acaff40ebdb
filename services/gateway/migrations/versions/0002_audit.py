"""The audit: what administrators and operators asked for, and what came of it."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates both tables; `gateway migrate` takes from the service's role what would change their rows."""
    op.create_table(
        "audit_calls",
        sa.Column("call_id", sa.Uuid, primary_key=True),
        sa.Column("called_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("key_id", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("trace_id", sa.Text, nullable=False),
    )
    op.create_index("audit_calls_of_tenant", "audit_calls", ["tenant", "call_id"])
    op.create_table(
        "audit_outcomes",
        sa.Column("call_id", sa.Uuid, sa.ForeignKey("audit_calls.call_id"), primary_key=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("status", sa.SmallInteger, nullable=False),
        sa.Column("note", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Drops both; the record is lost."""
    op.drop_table("audit_outcomes")
    op.drop_table("audit_calls")
