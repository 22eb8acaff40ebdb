"""Alembic's environment: `chassis.database.migrate` hands in the connection, and the transaction around it."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
