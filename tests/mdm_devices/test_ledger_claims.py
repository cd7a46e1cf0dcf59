"""What only one tablet may have: whatever a file asks for, in the end nothing is on two tablets."""

from hypothesis import given
from hypothesis import strategies as st

from mdm.csvfile import Row
from mdm.devices.ledger_claims import claims_of
from mdm.devices.ledger_columns import Column
from mdm.devices.ledger_entry import Entry, read_entry
from mdm.devices.ledger_plan import compare
from mdm.devices.ledger_values import Ledger, Standing, Tablet
from mdm.devices.models import EnrollmentStatus, LedgerState


def tablet(number: int, serial: int, holder: int | None) -> Tablet:
    return Tablet(
        control_number=f"T{number}",
        serial=f"SERIAL{serial}",
        platform="apple",
        model="",
        imei=None,
        iccid=None,
        school_code="E1",
        user_id=None if holder is None else f"p{holder}",
        lease_contract="",
        state=LedgerState.STOCK if holder is None else LedgerState.ISSUED,
    )


def ledger_of(count: int) -> Ledger:
    """A ledger of tablets 0 … count-1, each with the serial and the holder of its own number."""
    standing = {f"T{n}": Standing(n, EnrollmentStatus.ABSENT, tablet(n, n, n)) for n in range(count)}
    return Ledger(tablets=standing, person=lambda _: None, schools={"E1": "E1"})


def entry(line: int, number: int, serial: int, holder: int | None) -> Entry:
    cells = {
        Column.CONTROL_NUMBER: f"T{number}",
        Column.SERIAL: f"SERIAL{serial}",
        Column.SCHOOL_CODE: "E1",
        Column.USER_ID: "" if holder is None else f"p{holder}",
        Column.STATE: "stock" if holder is None else "issued",
    }
    read = read_entry(Row(line, cells))
    assert isinstance(read, Entry)
    return read


small = st.integers(0, 6)
wishes = st.lists(st.tuples(small, small, st.none() | small), max_size=7, unique_by=lambda wish: wish[0])


@given(wishes)
def test_no_two_tablets_end_with_the_same_thing(asked: list[tuple[int, int, int | None]]) -> None:
    """Whatever lines are taken and refused, the ledger that results gives every serial and holder to one tablet."""
    ledger = ledger_of(5)
    entries = [entry(line, *wish) for line, wish in enumerate(asked, start=2)]
    plan = compare(entries, ledger)
    result = {number: standing.tablet for number, standing in ledger.tablets.items()}
    result |= {proposal.tablet.control_number: proposal.tablet for proposal in plan.proposals}
    claims = [claim for each in result.values() for claim in claims_of(each)]
    assert len(claims) == len(set(claims))
    assert len(plan.lines) + len(plan.faults) == len(entries)


@given(wishes)
def test_a_file_that_is_right_as_a_whole_is_taken_as_a_whole(asked: list[tuple[int, int, int | None]]) -> None:
    """Lines are refused only if the ledger would be wrong with all of them written."""
    ledger = ledger_of(5)
    entries = [entry(line, *wish) for line, wish in enumerate(asked, start=2)]
    result = {number: standing.tablet for number, standing in ledger.tablets.items()}
    result |= {f"T{number}": tablet(number, serial, holder) for number, serial, holder in asked}
    claims = [claim for each in result.values() for claim in claims_of(each)]
    assert bool(compare(entries, ledger).faults) == (len(claims) > len(set(claims)))


def test_a_long_chain_is_weeded_in_one_pass() -> None:
    """15,000 lines that each depend on the next are refused in time that grows with their number, not its square."""
    count = 15_000
    ledger = ledger_of(count)
    entries = [entry(n + 2, n, n, n + 1) for n in range(count - 1)]
    # The last tablet keeps its holder, so the line before cannot have it, and so on to the first.
    assert len(compare(entries, ledger).faults) == count - 1
