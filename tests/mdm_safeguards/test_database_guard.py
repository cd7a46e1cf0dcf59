"""The database's own guard of class A, for every path that forgets the application's."""

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from mdm.auth.rights import Safety
from mdm.commands.kinds import FACTS

ROOT = Path(__file__).parent.parent.parent
COMMAND = "01a20826-0000-7000-8000-000000000001"


@pytest.fixture
def people(session: Session) -> list[int]:
    """Two operators, a school, and a tablet with id 1."""
    session.execute(text("INSERT INTO school (code, name) VALUES ('E001', '青葉小学校')"))
    session.execute(
        text(
            "INSERT INTO device (control_number, serial, platform, school_id, model, lease_contract, state)"
            " SELECT 'T1', 'SERIAL1', 'apple', id, '', '', 'issued' FROM school"
        )
    )
    session.execute(text("INSERT INTO enrollment (device_id, status, epoch) SELECT id, 'active', 1 FROM device"))
    for name in ("one", "two"):
        session.execute(
            text("INSERT INTO operator (name, password_hash, role, all_schools) VALUES (:name, 'x', 'support', true)"),
            {"name": name},
        )
    session.execute(
        text(
            "INSERT INTO approver_key (operator_id, kind, public_key, label, pinned_at)"
            " SELECT id, 'software', name::bytea, '', now() FROM operator"
        )
    )
    return [row[0] for row in session.execute(text("SELECT id FROM operator ORDER BY id"))]


def hold(session: Session, asker: int, changes: dict[str, object] | None = None) -> None:
    """Put a held command and its approval there; `changes` to the approval's subject."""
    device = session.execute(text("SELECT id FROM device")).scalar_one()
    command = {"id": COMMAND, "kind": "wipe", "arguments": {}, "epoch": 1} | (changes or {})
    session.execute(
        text(
            "INSERT INTO approval (id, action, subject, digest, reason, requested_by, expires_at)"
            " VALUES (:id, 'command.wipe', :subject, 'x', 'why', :asker, now() + interval '1 day')"
        ),
        {"id": COMMAND, "subject": json.dumps({"command": command, "devices": [{"id": device}]}), "asker": asker},
    )
    session.execute(
        text(
            "INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at,"
            " approval_id) SELECT :id, id, 1, 'wipe', '{}', 'x', 0, 'held', now() + interval '1 day', :id FROM device"
        ),
        {"id": COMMAND},
    )


def approve(session: Session, decider: int | None) -> None:
    session.execute(
        text(
            "UPDATE approval SET state = 'approved', decided_by = :who, signature = '{}',"
            " key_id = (SELECT id FROM approver_key WHERE operator_id = coalesce(:who, requested_by))"
        ),
        {"who": decider},
    )


def let_go(session: Session) -> None:
    session.execute(text("UPDATE command SET state = 'queued'"))


def test_an_approved_wipe_leaves(session: Session, people: list[int]) -> None:
    """With the approval of another person, the row may leave `held`."""
    hold(session, people[0])
    approve(session, people[1])
    let_go(session)


@pytest.mark.parametrize(
    "case", ["pending", "alone", "nobody", "not pinned", "other kind", "other arguments", "old epoch", "unknown"]
)
def test_anything_else_stays(session: Session, people: list[int], case: str) -> None:
    """No approval, one's own, nobody's, or one for something else lets nothing leave; an unknown kind is class A."""
    changes = {"other kind": {"kind": "restart"}, "other arguments": {"arguments": {"x": 1}}, "old epoch": {"epoch": 0}}
    hold(session, people[0], changes.get(case))
    if case == "unknown":
        session.execute(text("UPDATE command SET kind = 'raw'"))
    if case == "not pinned":
        session.execute(text("UPDATE approver_key SET pinned_at = NULL"))
    if case in ("alone", "nobody", "not pinned"):
        with pytest.raises(DBAPIError, match="signature of a second person"):
            approve(session, {"alone": people[0], "nobody": None}.get(case, people[1]))
        return
    if case != "pending":
        approve(session, people[1])
    with pytest.raises(DBAPIError, match="approval of a second person"):
        let_go(session)


def test_an_insert_past_the_application_is_refused(session: Session, people: list[int]) -> None:
    """A wipe that is inserted as already queued does not get in."""
    hold(session, people[0])
    with pytest.raises(DBAPIError, match="approval of a second person"):
        session.execute(
            text(
                "INSERT INTO command (device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at)"
                " SELECT id, 1, 'wipe', '{}', 'y', 0, 'queued', now() + interval '1 day' FROM device"
            )
        )


def test_the_database_knows_the_same_harmless_kinds() -> None:
    """The newest migration that names the harmless kinds names exactly those that are not class A."""
    migrations = [path.read_text() for path in sorted((ROOT / "alembic" / "versions").glob("*.py"))]
    newest = [text for text in migrations if "HARMLESS = (" in text][-1]
    names = re.findall(r'"([a-z_]+)"', newest.split("HARMLESS = (")[1].split(")")[0])
    assert sorted(names) == sorted(kind.value for kind, facts in FACTS.items() if facts.safety is not Safety.A)
