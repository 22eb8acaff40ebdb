"""The gateway's tables, by Alembic; `python -m gateway migrate` applies them."""
