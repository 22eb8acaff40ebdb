"""Hand-offs, what is said in them, and what customers and agents thought of the bot's turns."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "handoffs",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("handoff_id", sa.String(128), primary_key=True),
        sa.Column("conversation_id", sa.String(128), nullable=False),
        sa.Column("knowledge_base", sa.String(64), nullable=False),
        sa.Column("customer_id", sa.String(128), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("summary", JSONB, nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("claimed_by", sa.Text, nullable=False),
        sa.Column("lease_until", sa.DateTime(timezone=True)),
        sa.Column("resolved_at", sa.DateTime(timezone=True)),
        sa.Column("resolution", sa.Text, nullable=False),
        sa.Column("draft_id", sa.String(128), nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    # One that is open at a time: whoever asks twice for a person waits once.
    op.create_index(
        "handoffs_open",
        "handoffs",
        ["tenant", "conversation_id"],
        unique=True,
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_index("handoffs_of_conversation", "handoffs", ["tenant", "conversation_id", "requested_at"])
    op.create_index(
        "handoffs_queue",
        "handoffs",
        ["tenant", "requested_at", "handoff_id"],
        postgresql_where=sa.text("state <> 'resolved'"),
    )
    op.create_index("handoffs_leases", "handoffs", ["lease_until"], postgresql_where=sa.text("state = 'claimed'"))
    op.create_index("handoffs_resolved", "handoffs", ["resolved_at"], postgresql_where=sa.text("state = 'resolved'"))
    op.create_table(
        "handoff_turns",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("handoff_id", sa.String(128), primary_key=True),
        sa.Column("turn_id", sa.String(128), primary_key=True),
        sa.Column("speaker", sa.String(16), nullable=False),
        sa.Column("text", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["tenant", "handoff_id"], ["handoffs.tenant", "handoffs.handoff_id"], ondelete="CASCADE"
        ),
    )
    op.create_table(
        "turn_feedback",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("conversation_id", sa.String(128), primary_key=True),
        sa.Column("turn_id", sa.String(128), primary_key=True),
        sa.Column("given_by", sa.String(16), primary_key=True),
        sa.Column("source", sa.String(32), nullable=False),
        sa.Column("correct_article_id", sa.String(128), nullable=False),
        sa.Column("in_scope", sa.Boolean, nullable=False),
        sa.Column("comment", sa.Text, nullable=False),
        sa.Column("given_at", sa.DateTime(timezone=True), nullable=False, index=True),
    )


def downgrade() -> None:
    """Drops them; open hand-offs are lost."""
    for table in ("turn_feedback", "handoff_turns", "handoffs"):
        op.drop_table(table)
