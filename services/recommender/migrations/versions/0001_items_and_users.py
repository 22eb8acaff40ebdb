"""Items and users, each row with its tenant, and the outbox that announces a changed item."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from chassis.outbox import OUTBOX

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the three tables."""
    op.create_table(
        "items",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("item_id", sa.String(128), primary_key=True),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("categories", postgresql.ARRAY(sa.String(64)), nullable=False),
        sa.Column("year", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
        sa.Column("revision", sa.BigInteger, nullable=False, server_default="1"),
        sa.Column("retired", sa.Boolean, nullable=False, server_default=sa.false()),
    )
    op.create_table(
        "users",
        sa.Column("tenant", sa.String(128), primary_key=True),
        sa.Column("user_id", sa.String(128), primary_key=True),
        sa.Column("age", sa.Integer, nullable=False),
        sa.Column("gender", sa.String(32), nullable=False),
        sa.Column("occupation", sa.String(64), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False, server_default=sa.func.now()),
    )
    OUTBOX.create(op.get_bind())


def downgrade() -> None:
    """Drops them; the catalogue is lost."""
    for table in ("outbox", "users", "items"):
        op.drop_table(table)
