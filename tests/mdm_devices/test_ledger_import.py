"""The ledger import against a real database: what is written, what is refused, and that nothing else moves."""

import io

import pytest
from sqlalchemy import text
from sqlmodel import Session

from mdm.auth import Scope
from mdm.devices import csvfile, ledger, sample
from mdm.devices.ledger_values import Outcome, Plan
from mdm.errors import Invalid
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


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (TWO.replace("T2", "T1"), "the control number is on line 2 already"),
        (TWO.replace("SERIAL2", "serial1"), "the serial number is on line 2 too"),
        (TWO.replace("359900000000024", "35990000000001"), "the IMEI is on line 2 too"),
        (TWO.replace("359900000000024", "3599000000000178"), "the IMEI is on line 2 too"),
        (TWO.replace("8981990000000000021", "898199000000000001"), "the ICCID is on line 2 too"),
        (TWO.replace("8981990000000000021", "89819900000000000137"), "the ICCID is on line 2 too"),
        (TWO.replace("p2,泉　樹", "p1,青葉　海"), "the user id (one tablet in use per holder) is on line 2 too"),
        (TWO.replace("p2", "p1"), "the user id has another school, year, class or name on line 2"),
        (TWO.replace("青葉小", "泉小"), "the school has another name on line 2"),
        (TWO.replace("p2", ""), "name, year and class belong to a holder: the user id is empty"),
        (TWO.replace("issued", "sold"), "state: must be one of stock, issued"),
        (TWO.replace("1,2", "1,"), "year and class: both are needed, or neither"),
    ],
)
def test_lines_that_contradict_each_other(session: Session, second: str, said: str) -> None:
    """What only one tablet may have is found by its comparison key, and the later line is at fault."""
    plan = planned(session, ONE, second)
    assert list(faults(plan)) == [3]
    assert said in faults(plan)[3]
    assert "8981990" not in str(plan.faults)
    assert "3599000" not in str(plan.faults)


def test_what_another_tablet_has_is_refused_unless_it_gives_it_up(session: Session) -> None:
    """What a tablet in the ledger has can be taken only by a file that takes it from that tablet as well."""
    imported(session, ONE, TWO)
    taking = TWO.replace("SERIAL2", "SERIAL9").replace("p2,泉　樹", "p1,青葉　海")
    assert faults(planned(session, taking)) == {2: "the user id (one tablet in use per holder) is on tablet T1 already"}
    giving = ONE.replace("p1,青葉　海", "p2,泉　樹")
    assert faults(planned(session, taking, giving)) == {}


def test_two_tablets_change_serials_sims_and_holders(session: Session) -> None:
    """A complete exchange between two control numbers goes through under the unique indexes."""
    imported(session, ONE, TWO)
    one_, two = ONE.split(",", 1)[1], TWO.split(",", 1)[1]
    imported(session, f"T1,{two}", f"T2,{one_}")
    assert [(row[0], row[1], row[8]) for row in table(session)] == [("T1", "SERIAL2", "p2"), ("T2", "SERIAL1", "p1")]


def test_a_skipped_line_gives_back_what_it_had(session: Session) -> None:
    """Along a chain of exchanges one bad line takes the lines that depend on it with it, and the rest stays right."""
    lines = [f"T{n},SERIAL{n},E001,,,,p{n},name{n},,,issued" for n in range(30)]
    imported(session, *lines)
    # Every tablet goes to the next pupil; the last one's serial is wrong, so its pupil cannot be handed on.
    moved = [f"T{n},SERIAL{n},E001,,,,p{(n + 1) % 30},name{(n + 1) % 30},,,issued" for n in range(29)]
    plan = imported(session, *moved, "T29,?,E001,,,,p0,name0,,,issued", "T30,SERIAL30,E001,,,,,,,,stock", skip=True)
    assert len(plan.faults) == 30
    assert outcomes(plan) == [Outcome.NEW]
    assert one(session, "h.user_id", "T7") == "p7"


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
    session.execute(text("UPDATE enrollment SET status = 'ended'"))
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


def test_a_retired_tablet_is_no_longer_spoken_to(session: Session) -> None:
    """Retiring by import ends the enrolment, its wake-ups and its identities."""
    imported(session, ONE, TWO)
    session.execute(text("UPDATE enrollment SET status = 'active', push_token = 'x'"))
    session.execute(text("INSERT INTO wakeup (device_id, lane, due_at) SELECT id, 1, now() FROM device"))
    imported(session, ONE.replace("issued", "retired"))
    assert (one(session, "e.status"), one(session, "e.push_token")) == ("ended", None)
    assert one(session, "e.status", "T2") == "active"
    assert session.execute(text("SELECT count(*) FROM wakeup")).scalar_one() == 1


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


def test_scope_bounds_every_line(session: Session) -> None:
    """An administrator of one school touches no other school, adds none, and learns nothing of other tablets."""
    imported(session, ONE, TWO.replace("E001,青葉小学校", "E002,泉小学校"))
    school = session.execute(text("SELECT id FROM school WHERE code = 'E001'")).scalar_one()
    scope = Scope(all_schools=False, school_ids=frozenset([school]))
    spare = SPARE.replace("SERIAL3", "SERIAL2")
    plan = planned(
        session,
        ONE,
        TWO,
        SPARE.replace("E001", "E009").replace("T3", "T4"),
        spare,
        SPARE.replace("T3", "T5").replace(",,,,,,,stock", ",,,p2,n,,,issued").replace("SERIAL3", "SERIAL5"),
        scope=scope,
    )
    assert outcomes(plan) == [Outcome.UNCHANGED]
    assert faults(plan) == {
        3: "the control number belongs to a school outside your scope",
        4: "the school code is outside your scope",
        5: "the serial number is on another tablet already",
        6: "the user id belongs to a school outside your scope",
    }


def test_doubtful_sims_are_taken_with_a_notice(session: Session) -> None:
    """Luhn failure warns on 19 digits, informs on 20, and 18 digits lack the check digit (A3.2)."""
    sims = ("8981990000000000014", "89819900000000000218", "898199000000000003")
    lines = [f"T{n},SERIAL{n},E001,,,,,,,{sim}," for n, sim in enumerate(sims)]
    plan = planned(session, *lines)
    assert not plan.faults
    assert [(notice.line, notice.level) for notice in plan.notices] == [
        (2, "warning"),
        (3, "information"),
        (4, "information"),
    ]


def test_a_district_is_imported_and_read_again_unchanged(session: Session) -> None:
    """A sample district of 1,500 goes in as CP932 with Japanese headers and is unchanged as UTF-8 with English ones."""
    first = io.BytesIO("".join(sample.lines(1500)).encode("cp932"))
    plan = ledger.plan(session, csvfile.read_rows(first), ALL, lock=True)
    assert ledger.apply(session, plan).new == 1500
    second = io.BytesIO("".join(sample.lines(1500, japanese=False)).encode())
    plan = ledger.plan(session, csvfile.read_rows(second), ALL, lock=True)
    assert ledger.apply(session, plan) == ledger.Applied(new=0, changed=0, unchanged=1500)
