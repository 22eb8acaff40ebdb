"""Releases, the record of their changes, and what each replica has made of them."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the four tables."""
    op.create_table(
        "releases",
        sa.Column("model", sa.Text, primary_key=True),
        *_release_columns(),
        sa.CheckConstraint("stable <> ''", name="a_release_has_a_stable_version"),
        sa.CheckConstraint("(canary = '') = (canary_share = 0)", name="a_canary_has_a_share"),
        sa.CheckConstraint("canary_share >= 0 AND canary_share <= 1", name="a_share_is_a_share"),
    )
    op.create_table(
        "release_changes",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        *_release_columns(),
        sa.UniqueConstraint("model", "generation", name="one_change_a_generation"),
    )
    op.create_table(
        "replicas",
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "acknowledgements",
        sa.Column("replica", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
    )


def downgrade() -> None:
    """Drops them; the record of changes is lost."""
    for table in ("acknowledgements", "replicas", "release_changes", "releases"):
        op.drop_table(table)


def _release_columns() -> list[sa.Column[object]]:
    return [
        sa.Column("stable", sa.Text, nullable=False),
        sa.Column("canary", sa.Text, nullable=False),
        sa.Column("canary_share", sa.Double, nullable=False),
        sa.Column("shadow", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("changed_by", sa.Text, nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
    ]
