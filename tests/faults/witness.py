"""What the fault suite saw with its own eyes, and what it puts into the database to see more. It judges nothing.

The witnesses are the tablets' journals, the push service's journal, the answers that were given to accepted requests,
and a trigger that notes by whom each lease of a wake-up was taken and given back.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from simulator.clouds.apns import Entry as Push
from simulator.tablets.journal import Entry, Event, Journal


@dataclass(frozen=True, slots=True)
class Accepted:
    """A request that made commands and was answered with success: its Idempotency-Key and the commands made by it."""

    key: str
    made: frozenset[UUID]


@dataclass(frozen=True, slots=True)
class Limit:
    """A bucket as it was in force, and the push tokens (hex) of the tablets that it counts; None: of all tablets.

    `bursts` counts how often it was full again without waiting: once, and once more each time Valkey forgot.
    `slack_s` is how late a push may reach the push service after it was let go, because its line was made slow.
    """

    name: str
    rate: float
    burst: int
    tokens: frozenset[str] | None = None
    bursts: int = 1
    slack_s: float = 0.0


@dataclass(slots=True)
class Witness:
    """Everything that the invariants compare the database with."""

    journals: Sequence[Journal] = ()
    devices: dict[str, int] = field(default_factory=dict)
    """Ids of the tablets whose journals are here, by serial number. All of them are online."""
    pushes: Sequence[Push] = ()
    accepted: list[Accepted] = field(default_factory=list)
    limits: Sequence[Limit] = ()
    before: dict[UUID, str] = field(default_factory=dict)
    """States of all commands at an earlier moment."""
    audit_head: bytes | None = None
    """Digest of the newest audit event at an earlier moment."""

    def executed(self) -> dict[UUID, list[Entry]]:
        """What the tablets carried out, by CommandUUID."""
        found: dict[UUID, list[Entry]] = {}
        for entry in self.entries(Event.EXECUTED):
            found.setdefault(UUID(entry.command), []).append(entry)
        return found

    def entries(self, event: Event) -> Iterator[Entry]:
        """Return one kind of line of all journals."""
        for journal in self.journals:
            yield from (entry for entry in list(journal.entries) if entry.event is event)


def accepted(key: str, answer: dict[str, Any]) -> Accepted:
    """Read the answer to a request for commands, for one tablet or for several."""
    placed: Iterable[dict[str, Any]] = answer.get("placed", [answer])
    return Accepted(key, frozenset(UUID(each["command"]["id"]) for each in placed if each["created"]))


LEASES = """
CREATE TABLE lease_witness (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, at timestamptz NOT NULL DEFAULT clock_timestamp(),
    device_id bigint NOT NULL, token uuid NOT NULL, what text NOT NULL, who text NOT NULL
);
CREATE INDEX lease_witness_token ON lease_witness (token, device_id);
CREATE FUNCTION witness_lease() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF OLD.lease_token IS NOT NULL AND OLD.lease_token IS DISTINCT FROM NEW.lease_token THEN
        INSERT INTO lease_witness (device_id, token, what, who) VALUES (OLD.device_id, OLD.lease_token,
            CASE WHEN NEW.lease_token IS NULL THEN 'given back'
                WHEN OLD.lease_until < now() THEN 'ran out' ELSE 'stolen' END,
            current_setting('application_name'));
    END IF;
    IF NEW.lease_token IS NOT NULL AND OLD.lease_token IS DISTINCT FROM NEW.lease_token THEN
        INSERT INTO lease_witness (device_id, token, what, who)
        VALUES (NEW.device_id, NEW.lease_token, 'taken', current_setting('application_name'));
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER witness_lease AFTER UPDATE ON wakeup FOR EACH ROW EXECUTE FUNCTION witness_lease();
"""


def watch_leases(connection: psycopg.Connection) -> None:
    """Note from now on who takes and gives back leases; processes are told apart by their application names."""
    connection.execute(LEASES)


_COLUMNS = (
    "id, device_id, epoch, kind, arguments, dedupe_key, state, not_before, expires_at, created_at, created_by,"
    " approval_id, delivered_at, result"
)
COMMANDS = f"(SELECT {_COLUMNS} FROM command UNION ALL SELECT {_COLUMNS} FROM command_past) AS c"
"""Every command there is, live or past."""


def states(connection: psycopg.Connection) -> dict[UUID, str]:
    """Return the state of every command there is."""
    return dict(connection.execute(f"SELECT id, state FROM {COMMANDS}").fetchall())


def audit_head(connection: psycopg.Connection) -> bytes | None:
    """Return the digest of the newest audit event: what one keeps elsewhere to see a cut-off."""
    row = connection.execute("SELECT digest FROM audit_event ORDER BY id DESC LIMIT 1").fetchone()
    return None if row is None else bytes(row[0])
