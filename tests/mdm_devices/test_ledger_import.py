"""The ledger import against a real database: what is written, what is refused, and that nothing else moves."""

import io

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import Session

from mdm import db
from mdm.auth import Scope
from mdm.devices import csvfile, ledger, sample, search
from mdm.devices.ledger_values import Outcome, Plan
from mdm.devices.models import LedgerState
from mdm.errors import Conflict, Invalid
from mdm.jobs import Job
from mdm.organization import holders

ALL = Scope(all_schools=True)
HEADER = "control_number,serial,school_code,school_name,year,class,user_id,name,imei,iccid,state"
ONE = "T1,SERIAL1,E001,青葉小学校,1,2,p1,青葉　海,359900000000016,8981990000000000013,issued"
TWO = "T2,SERIAL2,E001,青葉小学校,1,2,p2,泉　樹,359900000000024,8981990000000000021,issued"
SPARE = "T3,SERIAL3,E001,青葉小学校,,,,,,,stock"


def planned(session: Session, *lines: str, header: str = HEADER, scope: Scope = ALL) -> Plan:
    content = "\n".join([header, *lines, ""]).encode()
    return ledger.plan(session, csvfile.read_rows(io.BytesIO(content)), scope, lock=True)


def imported(session: Session, *lines: str, header: str = HEADER, skip: bool = False) -> Plan:
    plan = planned(session, *lines, header=header)
    ledger.apply(session, plan, skip_bad_rows=skip)
    return plan


def table(session: Session) -> list[tuple]:
    """Everything an import may write, as tuples to compare."""
    statement = text(
        "SELECT d.control_number, d.serial, d.platform, d.model, d.imei, d.iccid, s.code, s.name, h.user_id, c.year,"
        " c.name, d.lease_contract, d.state, e.status, e.desired_stale, d.updated_at, h.name_sealed"
        " FROM device d JOIN school s ON s.id = d.school_id LEFT JOIN holder h ON h.id = d.holder_id"
        " LEFT JOIN school_class c ON c.id = h.class_id LEFT JOIN enrollment e ON e.device_id = d.id"
        " ORDER BY d.control_number"
    )
    return [tuple(row) for row in session.execute(statement)]


def one(session: Session, column: str, number: str = "T1") -> object:
    statement = (
        f"SELECT {column} FROM device d LEFT JOIN holder h ON h.id = d.holder_id"
        " LEFT JOIN school_class c ON c.id = h.class_id JOIN school s ON s.id = d.school_id"
        " JOIN enrollment e ON e.device_id = d.id WHERE d.control_number = :number"
    )
    return session.execute(text(statement), {"number": number}).scalar_one()


def faults(plan: Plan) -> dict[int, str]:
    return {fault.line: fault.reason for fault in plan.faults}


def outcomes(plan: Plan) -> list[Outcome]:
    return [line.outcome for line in plan.lines]


def rung(session: Session) -> list[Job]:
    return [job for job, _, _ in session.info.get("tabane.hints", [])]


def test_a_new_tablet_gets_school_class_holder_and_enrolment(session: Session) -> None:
    """One line makes everything it names; the name is sealed; what the tablet should be is to be computed."""
    plan = imported(session, ONE, SPARE)
    assert outcomes(plan) == [Outcome.NEW, Outcome.NEW]
    first, spare = table(session)
    assert first[:13] == (
        *("T1", "SERIAL1", "apple", "", "359900000000016", "8981990000000000013", "E001", "青葉小学校"),
        *("p1", 1, "2", "", "issued"),
    )
    assert first[13:15] == ("absent", True)
    assert spare[8:13] == (None, None, None, "", "stock")
    assert holders.open_name(session, one(session, "h.id")) == "青葉　海"
    assert "青葉　海".encode() not in bytes(first[16])
    assert rung(session) == [Job.RETARGET]


def test_a_second_import_changes_nothing(session: Session) -> None:
    """The same file again touches no row at all and rings nobody."""
    imported(session, ONE, TWO, SPARE)
    session.commit()
    before = table(session)
    session.info.clear()
    plan = imported(session, ONE, TWO, SPARE)
    assert outcomes(plan) == [Outcome.UNCHANGED] * 3
    assert table(session) == before
    assert rung(session) == []


def test_nothing_is_deleted_by_absence(session: Session) -> None:
    """A tablet, a holder or a class that a later file does not name stays."""
    imported(session, ONE, TWO)
    imported(session, TWO.replace("p2,泉　樹", "p3,朝倉　凛"))
    assert [row[0] for row in table(session)] == ["T1", "T2"]
    assert session.execute(text("SELECT count(*) FROM holder")).scalar_one() == 3


def test_one_wrong_line_stops_everything(session: Session) -> None:
    """All or nothing: with a wrong line nothing is written, and the refusal names each line."""
    with pytest.raises(Invalid) as refusal:
        imported(session, ONE, "T2,,E001,,,,,,,,", "T3,SERIAL3,E001,,13,1,p3,n,,,")
    assert refusal.value.errors == [
        {"pointer": "/lines/3", "detail": "serial: must not be empty"},
        {
            "pointer": "/lines/4",
            "detail": "year: must be a school year from 1 to 12; year and class: both are needed, or neither",
        },
    ]
    assert table(session) == []
    assert session.execute(text("SELECT count(*) FROM school")).scalar_one() == 0


def test_bad_rows_can_be_skipped(session: Session) -> None:
    """With the skip the right lines are written, and only those."""
    plan = imported(session, ONE, "T2,,E001,,,,,,,,", SPARE, skip=True)
    assert list(faults(plan)) == [3]
    assert [row[0] for row in table(session)] == ["T1", "T3"]


def test_a_missing_column_leaves_and_an_empty_cell_clears(session: Session) -> None:
    """The two kinds of silence: no column, no change; an empty cell empties the field."""
    imported(session, ONE)
    imported(session, "T1,SERIAL1,E001", header="control_number,serial,school_code")
    assert table(session)[0][4:10] == ("359900000000016", "8981990000000000013", "E001", "青葉小学校", "p1", 1)
    plan = imported(session, "T1,SERIAL1,E001,,", header="control_number,serial,school_code,iccid,user_id")
    assert table(session)[0][4:9] == ("359900000000016", None, "E001", "青葉小学校", None)
    assert [(c.field, c.old, c.new) for c in plan.lines[0].changes] == [("iccid", "…0013", ""), ("user_id", "p1", "")]


def test_changes_show_no_name_and_no_sim(session: Session) -> None:
    """A plan shows old and new, but of names only that they change and of numbers only the end."""
    imported(session, ONE)
    line = (
        ONE.replace("青葉　海", "秘密　名").replace("8981990000000000013", "8981990000000000104").replace("1,2", "2,3")
    )
    plan = planned(session, line)
    assert [(c.field, c.old, c.new) for c in plan.lines[0].changes] == [
        ("iccid", "…0013", "…0104"),
        ("class", "1-2", "2-3"),
        ("name", "***", "***"),
    ]
    assert "秘密" not in repr(plan)
    assert "青葉　海" not in repr(plan)


def test_a_lost_tablet_stays_on_record_beside_its_replacement(session: Session) -> None:
    """One tablet in use per holder: the lost one keeps its holder and does not stand in the way of a spare."""
    imported(session, ONE, SPARE)
    imported(session, ONE.replace("issued", "紛失"), SPARE.replace(",,,,,,,stock", ",1,2,p1,青葉　海,,,貸与"))
    assert [(row[0], row[8], row[12]) for row in table(session)] == [("T1", "p1", "lost"), ("T3", "p1", "issued")]


def test_a_serial_changes_only_when_the_tablet_is_not_enrolled(session: Session) -> None:
    """Other hardware under a control number needs the old one retired; then nothing of the old serves the new."""
    imported(session, ONE)
    session.execute(text("UPDATE enrollment SET status = 'active', epoch = 3, udid = 'U1', unlock_token = 'x'"))
    other = ONE.replace("SERIAL1", "OTHER1")
    assert "retire it first" in faults(planned(session, other))[2]
    imported(session, ONE.replace("issued", "retired"))
    device = one(session, "d.id")
    session.execute(
        text(
            "INSERT INTO device_identity (sha256, device_id, not_after, renew_at) VALUES ('x', :device, now(), now())"
        ),
        {"device": device},
    )
    imported(session, other)
    assert (one(session, "d.id"), one(session, "d.serial")) == (device, "OTHER1")
    assert (one(session, "e.status"), one(session, "e.epoch"), one(session, "e.udid")) == ("absent", 4, None)
    assert one(session, "e.unlock_token") is None
    assert session.execute(text("SELECT revoked_at IS NOT NULL FROM device_identity")).scalar_one()


def test_retiring_takes_nothing_from_a_tablet(session: Session) -> None:
    """A ledger line cannot end management, which would remove its profiles without a second person."""
    imported(session, ONE, TWO)
    session.execute(text("UPDATE enrollment SET status = 'active', push_token = 'x'"))
    session.execute(text("INSERT INTO wakeup (device_id, lane, due_at) SELECT id, 1, now() FROM device"))
    imported(session, ONE.replace("issued", "retired"))
    assert (one(session, "d.state"), one(session, "e.status"), one(session, "e.push_token")) == (
        "retired",
        "active",
        b"x",
    )
    assert session.execute(text("SELECT count(*) FROM wakeup")).scalar_one() == 2


@pytest.mark.parametrize(
    ("line", "stale"),
    [
        (ONE.replace("E001,青葉小学校", "E002,泉小学校"), True),
        (ONE.replace("1,2", "2,2"), True),
        (ONE.replace("p1,青葉　海", "p9,朝倉　凛"), True),
        (ONE.replace("青葉　海", "青葉　凛"), False),
        (ONE.replace("issued", "repair"), False),
        (ONE.replace("8981990000000000013", ""), False),
    ],
)
def test_only_what_policy_depends_on_makes_a_tablet_stale(session: Session, line: str, *, stale: bool) -> None:
    """School, class and holder are targets of policy; name, state and SIM are not."""
    imported(session, ONE)
    session.execute(text("UPDATE enrollment SET desired_stale = false"))
    session.info.clear()
    plan = imported(session, line)
    assert outcomes(plan) == [Outcome.CHANGED]
    assert one(session, "e.desired_stale") is stale
    assert rung(session) == ([Job.RETARGET] if stale else [])


def test_leaving_a_school_leaves_its_class(session: Session) -> None:
    """A holder that moves to another school in a file without classes has no class there."""
    imported(session, ONE)
    imported(session, "T1,SERIAL1,E002,p1", header="control_number,serial,school_code,user_id")
    assert (one(session, "s.code"), one(session, "c.name")) == ("E002", None)


def test_a_district_is_imported_and_read_again_unchanged(session: Session) -> None:
    """A sample district of 1,500 goes in as CP932 with Japanese headers and is unchanged as UTF-8 with English ones."""
    first = io.BytesIO("".join(sample.lines(1500)).encode("cp932"))
    plan = ledger.plan(session, csvfile.read_rows(first), ALL, lock=True)
    assert ledger.apply(session, plan).new == 1500
    second = io.BytesIO("".join(sample.lines(1500, japanese=False)).encode())
    plan = ledger.plan(session, csvfile.read_rows(second), ALL, lock=True)
    assert ledger.apply(session, plan) == ledger.Applied(new=0, changed=0, unchanged=1500)


def test_a_plan_that_was_overtaken_is_not_written(session: Session) -> None:
    """A tablet that enters the ledger by itself between plan and write makes the import start over, not fail."""
    plan = planned(session, ONE, SPARE)
    imported(session, "T9,SERIAL1,E001,,,,,,,,")
    with pytest.raises(Conflict, match="try again"):
        ledger.apply(session, plan)


def test_an_import_and_a_state_change_keep_out_of_each_others_way(session: Session) -> None:
    """While an import is under way, the state of a tablet cannot be changed under it."""
    imported(session, ONE)
    session.commit()
    device = one(session, "d.id")
    planned(session, ONE)
    with Session(db.engine()) as other:
        other.execute(text("SET LOCAL lock_timeout = 50"))
        with pytest.raises(OperationalError, match="lock timeout"):
            search.set_state(other, ALL, device, LedgerState.LOST)
    session.commit()
    assert search.set_state(session, ALL, device, LedgerState.LOST) is LedgerState.ISSUED
    assert one(session, "d.state") == "lost"
