"""Articles, labelled questions, calibrations and drafts, each row with its tenant; the outbox and the inbox."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from chassis.inbox import INBOX
from chassis.outbox import OUTBOX

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "articles",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("knowledge_base", sa.String(64), primary_key=True),
        sa.Column("article_id", sa.String(128), primary_key=True),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("retired", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "labelled_questions",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("knowledge_base", sa.String(64), primary_key=True),
        # The question itself may be longer than an index entry.
        sa.Column("question_hash", sa.LargeBinary, primary_key=True),
        sa.Column("question", sa.Text, nullable=False),
        sa.Column("language", sa.String(2), nullable=False),
        sa.Column("article_id", sa.String(128)),
        sa.Column("wrong_article_id", sa.String(128)),
        sa.Column("from_feedback", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    op.create_table(
        "calibrations",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("knowledge_base", sa.String(64), primary_key=True),
        sa.Column("language", sa.String(2), primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("calibration", JSONB, nullable=False),
        sa.Column("questions_read_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "target_risks",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("knowledge_base", sa.String(64), primary_key=True),
        sa.Column("language", sa.String(2), primary_key=True),
        sa.Column("target_risk", sa.Double, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("changed_by", sa.Text, nullable=False),
    )
    op.create_table(
        "drafts",
        sa.Column("draft_id", sa.String(128), primary_key=True),
        sa.Column("tenant", sa.String(128), nullable=False),
        sa.Column("knowledge_base", sa.String(64), nullable=False),
        sa.Column("article_id", sa.String(128), nullable=False),
        sa.Column("content", JSONB, nullable=False),
        sa.Column("handoff_id", sa.Text, nullable=False),
        sa.Column("proposed_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("proposed_by", sa.Text, nullable=False),
        sa.Column("state", sa.String(16), nullable=False, server_default="proposed"),
        sa.Column("decided_at", sa.DateTime(timezone=True)),
        sa.Column("decided_by", sa.Text),
        sa.Column("reason", sa.Text),
    )
    op.create_index(
        "drafts_proposed",
        "drafts",
        ["tenant", "knowledge_base", "proposed_at"],
        postgresql_where=sa.text("state = 'proposed'"),
    )
    OUTBOX.create(op.get_bind())
    INBOX.create(op.get_bind())


def downgrade() -> None:
    """Drops them; the knowledge is lost."""
    for table in ("inbox", "outbox", "drafts", "target_risks", "calibrations", "labelled_questions", "articles"):
        op.drop_table(table)
