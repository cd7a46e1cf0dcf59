"""What a thief does with the web process's own role in the database: all of `thief.sql`, and requests that it forges.

Each statement is tried in a transaction of its own. A friend at the desk may sign what it forged, past the application.
"""

import random
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Final
from uuid import UUID, uuid4

import psycopg
from psycopg.types.json import Jsonb

from tests.signer import Signer, digest

STATEMENTS: Final = Path(__file__).with_name("thief.sql").read_text().split("\n\n")
_FORGED: Final = 8
"""Wipes in a round: more than any budget has."""


def burgle(url: str, chance: random.Random, friend: Signer | None) -> Counter[str]:
    """Do one round, and return how the database answered, by its codes; `done` is what it took."""
    answers: Counter[str] = Counter()
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
        for statement in chance.sample(STATEMENTS, len(STATEMENTS)):
            answers[_tried(connection, statement)] += 1
        answers["forged"] += _forge(connection, friend)
    return answers


def _tried(connection: psycopg.Connection, statement: str) -> str:
    try:
        connection.execute(statement)
    except psycopg.Error as error:
        return error.sqlstate or "none"
    return "done"


def _forge(connection: psycopg.Connection, friend: Signer | None) -> int:
    """Write wipes as if somebody else had asked for each; the friend signs, or nobody does. Returns how many."""
    askers = [id_ for (id_,) in connection.execute("SELECT id FROM operator ORDER BY random()")]
    tablets = connection.execute(
        "SELECT d.id, d.serial, d.control_number, e.epoch FROM device d JOIN enrollment e ON e.device_id = d.id"
        " WHERE e.status = 'active' ORDER BY random() LIMIT %s",
        (_FORGED,),
    ).fetchall()
    forged = 0
    for number, (device_id, serial, control_number, epoch) in enumerate(tablets):
        with suppress(psycopg.Error), connection.transaction():
            approval = _ask(connection, askers[number % len(askers)], (device_id, serial, control_number), epoch)
            if friend is not None:
                friend.approve_row(connection, approval)
            forged += 1
    return forged


def _ask(connection: psycopg.Connection, asker: int, tablet: tuple[int, str, str], epoch: int) -> UUID:
    approval, command = uuid4(), uuid4()
    wanted = {"id": str(command), "kind": "wipe", "arguments": {}, "epoch": epoch}
    subject = {"command": wanted, "devices": [dict(zip(("id", "serial", "control_number"), tablet, strict=True))]}
    row = connection.execute("SELECT now() + interval '23 hours'").fetchone()
    assert row is not None
    signed = digest("command.wipe", subject, "maintenance", asker, row[0])
    connection.execute(
        "INSERT INTO approval (id, action, subject, digest, reason, state, requested_by, expires_at)"
        " VALUES (%s, 'command.wipe', %s, %s, 'maintenance', 'pending', %s, %s)",
        (approval, Jsonb(subject), signed, asker, row[0]),
    )
    connection.execute(
        "INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, approval_id,"
        " created_by) VALUES (%s, %s, %s, 'wipe', '{}', %s, 0, 'held', %s, %s, %s)",
        (command, tablet[0], epoch, f"wipe-{approval}", row[0], approval, asker),
    )
    return approval
