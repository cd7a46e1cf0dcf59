"""A district with two operators and pinned keys, and the hand of whoever owns the database."""

import pytest

from mdm import db
from mdm.safeguards import keys, signing
from tests import tampering
from tests.mdm_commands.conftest import district, sign_in, sql

__all__ = ["district", "sign_in", "sql"]


@pytest.fixture
def pinned(database):
    """Register a person's key and have the host pin it, with its record in the trail."""

    def run(api) -> None:
        with db.engine().begin() as connection:
            row = connection.exec_driver_sql(
                "INSERT INTO approver_key (operator_id, kind, public_key, label)"
                " SELECT id, 'software', %s, 'a test' FROM operator WHERE name = %s RETURNING id",
                (api.signer.public_key, api.name),
            )
            api.signer.id = row.scalar_one()
        with db.transaction() as session:
            assert keys.pin(session, signing.fingerprint(api.signer.public_key)) == api.name

    return run


@pytest.fixture
def tamper(database):
    """Run SQL past the triggers."""
    return tampering.tamper
