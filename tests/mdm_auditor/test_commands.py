"""Whoever owns the database lets wipes leave without right: the command auditor finds each way of it."""

import json

import pytest
from typer.testing import CliRunner

from mdm import db
from mdm.audit import chain
from mdm.auditor import commands
from mdm.auditor.judging import HARMLESS, Fault
from mdm.auth.rights import Safety
from mdm.cli import build
from mdm.commands.kinds import FACTS
from tests.signer import Signer
from workers import auditor, sender

FORGED = "01a20826-0000-7000-8000-000000000001"
COLUMNS = (
    "id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, created_at, created_by, approval_id,"
    " sent_at, delivered_at, ended_at"
)


@pytest.fixture
def people(district, sign_in, pinned):
    """Who asks, and who approves with a key that the host has pinned."""
    hana, jiro = sign_in("hana"), sign_in("jiro")
    pinned(jiro)
    return hana, jiro


@pytest.fixture
def wiped(district, people, sql):
    """Let a wipe leave in order, and return the ids of command and approval."""
    hana, jiro = people

    def run(tablet: str = "a") -> tuple[str, str]:
        placed = hana.wipe(district.tablets[tablet])
        answer = jiro.approve(placed["approval_id"])
        assert answer.status_code == 200, answer.text
        assert sender.look() == {"left": 1}
        assert hana.state(placed["command"]["id"]) == "queued"
        return placed["command"]["id"], placed["approval_id"]

    return run


def _faults() -> set[Fault]:
    with db.transaction() as session:
        return {finding.fault for finding in commands.examine(session, commands.EVER).findings}


def test_all_is_well(wiped, district, people):
    """What was asked for, approved, signed and let go in order is no finding, live or ended."""
    wiped("a")
    wiped("b")
    people[0].wipe(district.tablets["far"])
    with db.transaction() as session:
        examined = commands.examine(session, commands.EVER)
    assert (examined.commands, examined.findings) == (2, ())
    assert auditor.look() == auditor.look(whole=True) == []


def _forge(tablet: int, state: str = "done", table: str = "command", approval: str = "NULL") -> str:
    return (
        f"INSERT INTO {table} ({COLUMNS}, not_now_count) VALUES ('{FORGED}', {tablet}, 1, 'wipe', '{{}}', 'x', 0,"
        f" '{state}', now() + interval '1 day', now(), (SELECT id FROM operator WHERE name = 'hana'), {approval},"
        " now(), now(), now(), 0)"
    )


@pytest.mark.parametrize(
    ("state", "table"), [("queued", "command"), ("done", "command"), ("cancelled", "command"), ("done", "command_past")]
)
def test_no_approval_at_all(district, people, tamper, state, table):
    """A wipe that somebody put into the table is found in every state and place, once, and put on record."""
    tamper(_forge(district.tablets["a"], state, table))
    assert _faults() == {Fault.NO_APPROVAL}
    [found] = auditor.look()
    assert (str(found.command_id), found.fault) == (FORGED, Fault.NO_APPROVAL)
    assert auditor.look(whole=True) == []
    with db.engine().connect() as connection:
        recorded = connection.exec_driver_sql("SELECT subject FROM audit_event WHERE action = 'command.finding'")
        assert [row[0] for row in recorded] == [f"command:{FORGED}"]
        paged = connection.exec_driver_sql("SELECT what, details FROM notice").all()
        assert [tuple(each) for each in paged] == [
            ("audit.commands", {"faults": {"no_approval": 1}, "commands": [FORGED]})
        ]


@pytest.mark.parametrize(
    ("hand", "expected"),
    [
        ("UPDATE approval SET state = 'pending'", Fault.NOT_APPROVED),
        ("UPDATE approval SET decided_by = requested_by", Fault.ALONE),
        ("UPDATE command SET created_by = (SELECT id FROM operator WHERE name = 'jiro')", Fault.OTHER_REQUESTER),
        ("UPDATE approval SET decided_at = expires_at + interval '1 hour'", Fault.OUT_OF_TIME),
        ("UPDATE command SET sent_at = now() - interval '1 hour'", Fault.OUT_OF_TIME),
        ("UPDATE command SET arguments = '{\"preserve_data_plan\": false}'", Fault.OTHER_SUBJECT),
        ("UPDATE command SET device_id = (SELECT id FROM device WHERE serial = 'SERIALB')", Fault.OTHER_SUBJECT),
        ("UPDATE command SET kind = 'erase_everything'", Fault.OTHER_SUBJECT),
        ("UPDATE approval SET reason = 'another'", Fault.CHANGED),
        ("UPDATE approval SET signature = NULL", Fault.NOT_SIGNED),
        ("UPDATE approval SET urgent = NOT urgent", Fault.NOT_SIGNED),
        ("UPDATE approver_key SET pinned_at = NULL", Fault.NOT_SIGNED),
        ("UPDATE approver_key SET revoked_at = now() - interval '1 day'", Fault.NOT_SIGNED),
        ("DELETE FROM audit_event WHERE action = 'key.pin'", Fault.KEY_NOT_ON_RECORD),
        ("DELETE FROM audit_event WHERE action = 'approval.approve'", Fault.NOT_ON_RECORD),
        ("DELETE FROM audit_event WHERE action = 'command.release'", Fault.NOT_LET_GO),
        ("UPDATE audit_event SET mac = 'x' WHERE action = 'approval.approve'", Fault.NOT_ON_RECORD),
        (
            "UPDATE audit_event SET sequence = NULL, key_id = NULL, mac = NULL WHERE action = 'approval.approve'",
            Fault.NOT_ON_RECORD,
        ),
    ],
)
def test_changed_afterwards(wiped, tamper, hand, expected):
    """Whatever is changed of a command, its approval, the key or the trail shows as what it is."""
    wiped()
    tamper(hand)
    assert expected in _faults()


def test_one_approval_twice(wiped, district, tamper):
    """A second command on the same approval is found, and so is the first."""
    _, approval = wiped()
    tamper(_forge(district.tablets["b"], "queued", approval=f"'{approval}'"))
    with db.transaction() as session:
        findings = commands.examine(session, commands.EVER).findings
    assert len({each.command_id for each in findings if each.fault is Fault.REUSED}) == 2


def test_a_key_of_their_own(district, people, database, tamper):
    """Whoever pins a key of their own in the database and signs with it has no record of either in the sealed trail."""
    hana, _ = people
    placed = hana.wipe(district.tablets["a"])
    forger = Signer("jiro")
    with db.engine().begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        forger.pinned_by(connection.connection.driver_connection)
        forger.approve_row(connection.connection.driver_connection, placed["approval_id"])
        connection.exec_driver_sql("UPDATE approval SET decided_at = now()")
    tamper("UPDATE command SET state = 'queued'")
    assert _faults() == {Fault.KEY_NOT_ON_RECORD, Fault.NOT_ON_RECORD, Fault.NOT_LET_GO}


def test_let_go_under_another_name(district, people, tamper):
    """A release that is on record under another name than the sender's does not count."""
    hana, jiro = people
    placed = hana.wipe(district.tablets["a"])
    assert jiro.approve(placed["approval_id"]).status_code == 200
    with db.transaction() as session:
        details = {"approval": placed["approval_id"], "kind": "wipe", "command": placed["command"]["id"]}
        chain.record(session, "operator:jiro", "command.release", f"device:{district.tablets['a']}", details)
    tamper("UPDATE command SET state = 'queued'")
    assert _faults() == {Fault.NOT_LET_GO}


def test_over_budget(district, people, tamper):
    """Wipes that a forger lets leave faster than the budget are found as that too."""
    tablet = district.tablets["a"]
    forged = [
        _forge(tablet, "done", "command_past").replace(FORGED, f"{FORGED[:-2]}{number:02}") for number in range(5)
    ]
    tamper(*forged)
    with db.transaction() as session:
        findings = commands.examine(session, commands.EVER).findings
    assert len([each for each in findings if each.fault is Fault.OVER_BUDGET]) == 2


def test_a_row_that_is_gone(wiped, tamper):
    """A wipe that was let go and whose row was deleted is missed; one that was let go years ago is not."""
    command, _ = wiped()
    tamper("DELETE FROM command_event", "DELETE FROM command")
    with db.engine().begin() as connection:
        connection.exec_driver_sql("SET LOCAL session_replication_role = replica")
        connection.exec_driver_sql(
            "INSERT INTO class_a_release (command_id, at, device_id, school_id, requested_by, signers)"
            " VALUES (%s, now(), 1, 1, 1, '{2}') ON CONFLICT DO NOTHING",
            (command,),
        )
    assert _faults() == {Fault.VANISHED}
    tamper("UPDATE class_a_release SET at = now() - interval '3 years'")
    assert _faults() == set()


def test_list_of_harmless_kinds():
    """The auditor's own list is that of the kinds that are not class A today."""
    assert {kind.value for kind, facts in FACTS.items() if facts.safety is not Safety.A} == HARMLESS


def test_command_line(wiped, tamper):
    """`audit commands` ends with 0 when all is well and with 1 when not, for people and as JSON."""
    wiped()

    def run(*words: str):
        return CliRunner().invoke(build("audit"), ["audit", "commands", *words], prog_name="tabane")

    assert (run().exit_code, run().output) == (0, "1 commands of class A left; 0 findings.\n")
    tamper("UPDATE approval SET decided_by = requested_by")
    answer = run("--json")
    assert (answer.exit_code, "alone" in {each["fault"] for each in json.loads(answer.output)["findings"]}) == (1, True)
    assert "alone" in run().output
