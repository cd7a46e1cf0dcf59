"""The invented district of the commands' tests, with its signed-in operators: approvals are about commands."""

from tests.mdm_commands.conftest import district, sign_in, sql

__all__ = ["district", "sign_in", "sql"]
