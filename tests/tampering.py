"""The hand of whoever owns the database."""

from mdm import db


def tamper(*statements: str) -> None:
    """Run SQL as someone would who owns the database: past the triggers."""
    with db.engine().begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.exec_driver_sql(statement)
