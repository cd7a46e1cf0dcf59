"""Whatever stands in the cells: lines are refused, or written so that a second import and the export repeat them."""

import io

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlmodel import Session

from mdm.auth import Scope
from mdm.csvfile import csv_line
from mdm.devices import csvfile, ledger, search
from mdm.devices.ledger_columns import Column
from mdm.devices.ledger_endpoints import _export

ALL = Scope(all_schools=True)
number = st.integers(0, 3).map(str)
plain = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
awkward = st.sampled_from(
    ["", " ", "=1+1", "'=x", "''@", "　", "\x00", "㈱", "﨑", "ﾀﾞ", "\u200b", "\ue000", "x" * 70, "ß"]
)


def mostly(good: st.SearchStrategy[str], bad: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Nine of ten cells good: a line is wrong with one bad cell, and right lines are what is to be repeated."""
    return st.integers(0, 9).flatmap(lambda roll: bad if roll == 0 else good)


words = {
    Column.CONTROL_NUMBER: mostly(number.map("T{}".format), plain),
    Column.SERIAL: mostly(number.map("SERIAL{}".format), plain),
    Column.PLATFORM: mostly(st.sampled_from(["apple", "iPad", ""]), awkward),
    Column.MODEL: plain | awkward,
    Column.IMEI: mostly(st.sampled_from(["", "359900000000016", "35990000000001"]), number),
    Column.ICCID: mostly(st.sampled_from(["", "8981990000000000013F", "8981990000000000021"]), number),
    Column.SCHOOL_CODE: mostly(number, plain | awkward),
    Column.SCHOOL_NAME: mostly(st.just(""), plain | awkward),
    Column.YEAR: mostly(st.sampled_from(["1", "2年"]), number | awkward),
    Column.CLASS: mostly(number, plain | awkward),
    Column.USER_ID: mostly(number, plain | awkward),
    Column.NAME: plain | awkward,
    Column.LEASE_CONTRACT: plain | awkward,
    Column.STATE: mostly(st.sampled_from(["", "stock", "貸与", "retired"]), awkward),
}
rows = st.lists(st.fixed_dictionaries(words), min_size=1, max_size=6)


def imported(session: Session, content: bytes) -> ledger.Applied:
    plan = ledger.plan(session, csvfile.read_rows(io.BytesIO(content)), ALL, lock=True)
    return ledger.apply(session, plan, skip_bad_rows=True)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(rows, rows)
def test_any_cells(session: Session, first: list[dict[Column, str]], second: list[dict[Column, str]]) -> None:
    """Two files of anything, one after the other: each is repeated without a change, and so is the export."""
    for table in ("enrollment", "device", "holder", "school_class", "school"):
        session.execute(text(f"DELETE FROM {table}"))
    for wishes in (first, second):
        lines = [csv_line(column.value for column in Column)]
        lines += [csv_line(row[column] for column in Column) for row in wishes]
        content = "".join(lines).encode()
        imported(session, content)
        again = imported(session, content)
        assert (again.new, again.changed) == (0, 0)
    exported = "".join(_export(search.everything(session, ALL), english=True)).encode("utf-8-sig")
    tablets = session.execute(text("SELECT count(*) FROM device")).scalar_one()
    assert imported(session, exported) == ledger.Applied(new=0, changed=0, unchanged=tablets)
