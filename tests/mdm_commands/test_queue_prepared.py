"""The same connection places many commands: statements that PostgreSQL has planned for good must go on working."""

import itertools

from mdm import db
from mdm.auth import Principal, Role, Scope
from mdm.auth.principal import CredentialKind
from mdm.commands import queue, transitions


def test_one_connection_places_any_number_of_commands(district, database):
    """A prepared statement with a generic plan still finds the index that keeps live commands apart."""
    tablet = district.tablets["a"]
    with db.transaction() as session:
        for _, kind in zip(range(16), itertools.cycle(["restart", "inventory_apps"]), strict=False):
            (outcome,) = queue.enqueue(session, "job:test", [tablet], queue.Kind(kind), {})
            assert outcome.fresh
            nobody = Principal(
                id=0,
                name="x",
                role=Role.ADMINISTRATOR,
                scope=Scope(all_schools=True),
                credential=CredentialKind.SESSION,
            )
            transitions.cancel(session, nobody, outcome.command.id)
