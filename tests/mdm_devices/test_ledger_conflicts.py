"""Lines of a ledger file that cannot all be right: which one is at fault, and what it takes with it."""

import io

import pytest
from sqlalchemy import text
from sqlmodel import Session

from mdm.auth import Scope
from mdm.devices import csvfile, ledger
from mdm.devices.ledger_values import Outcome, Plan

ALL = Scope(all_schools=True)
HEADER = "control_number,serial,school_code,school_name,year,class,user_id,name,imei,iccid,state"
ONE = "T1,SERIAL1,E001,青葉小学校,1,2,p1,青葉　海,359900000000016,8981990000000000013,issued"
TWO = "T2,SERIAL2,E001,青葉小学校,1,2,p2,泉　樹,359900000000024,8981990000000000021,issued"
SPARE = "T3,SERIAL3,E001,青葉小学校,,,,,,,stock"


def planned(session: Session, *lines: str, scope: Scope = ALL) -> Plan:
    content = "\n".join([HEADER, *lines, ""]).encode()
    return ledger.plan(session, csvfile.read_rows(io.BytesIO(content)), scope, lock=True)


def imported(session: Session, *lines: str, skip: bool = False) -> Plan:
    plan = planned(session, *lines)
    ledger.apply(session, plan, skip_bad_rows=skip)
    return plan


def holdings(session: Session) -> list[tuple[str, str, str | None]]:
    statement = (
        "SELECT d.control_number, d.serial, h.user_id FROM device d LEFT JOIN holder h ON h.id = d.holder_id ORDER BY 1"
    )
    return [tuple(row) for row in session.execute(text(statement))]


def faults(plan: Plan) -> dict[int, str]:
    return {fault.line: fault.reason for fault in plan.faults}


def outcomes(plan: Plan) -> list[Outcome]:
    return [line.outcome for line in plan.lines]


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
        (TWO.replace("p2", "p1"), "the user id has another year, class or name on line 2"),
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
    assert holdings(session) == [("T1", "SERIAL2", "p2"), ("T2", "SERIAL1", "p1")]


def test_a_skipped_line_gives_back_what_it_had(session: Session) -> None:
    """Along a chain of exchanges one bad line takes the lines that depend on it with it, and the rest stays right."""
    lines = [f"T{n},SERIAL{n},E001,,,,p{n},name{n},,,issued" for n in range(30)]
    imported(session, *lines)
    # Every tablet goes to the next pupil; the last one's serial is wrong, so its pupil cannot be handed on.
    moved = [f"T{n},SERIAL{n},E001,,,,p{(n + 1) % 30},name{(n + 1) % 30},,,issued" for n in range(29)]
    plan = imported(session, *moved, "T29,?,E001,,,,p0,name0,,,issued", "T30,SERIAL30,E001,,,,,,,,stock", skip=True)
    assert len(plan.faults) == 30
    assert outcomes(plan) == [Outcome.NEW]
    assert ("T7", "SERIAL7", "p7") in holdings(session)


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


def test_a_lost_tablet_may_stay_with_a_former_school(session: Session) -> None:
    """Where a holder is, the tablet in use says, in whichever order lines stand; the lost one keeps its school."""
    lost = ONE.replace("issued", "lost")
    spare = "T3,SERIAL3,E002,泉小学校,1,2,p1,青葉　海,,,issued"
    for number, lines in enumerate(([lost, spare], [spare, lost])):
        assert outcomes(imported(session, *lines)) == [[Outcome.NEW] * 2, [Outcome.UNCHANGED] * 2][number]
        schools = session.execute(
            text("SELECT s.code FROM holder h JOIN school s ON s.id = h.school_id WHERE h.user_id = 'p1'")
        )
        assert schools.scalar_one() == "E002"
    assert holdings(session) == [("T1", "SERIAL1", "p1"), ("T3", "SERIAL3", "p1")]
