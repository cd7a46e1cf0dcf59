"""The ledger's column for the kind of tablet."""

import io

import pytest
from sqlalchemy import text

from mdm.auth.principal import Scope
from mdm.devices import csvfile, ledger
from mdm.devices.ledger_values import Outcome

HEADER = "control_number,serial,school_code,platform"


@pytest.mark.parametrize(
    ("word", "kept"),
    [("apple", "apple"), ("iPad", "apple"), ("", "apple"), ("android", "android"), ("Android", "android")],
)
def test_tablets_of_every_platform_are_taken(session, word, kept):
    """An Android tablet stands in the ledger as one, and what was taken before is taken still."""
    content = f"{HEADER}\nT1,SERIAL1,E001,{word}\n".encode()
    for expected in (Outcome.NEW, Outcome.UNCHANGED):
        plan = ledger.plan(session, csvfile.read_rows(io.BytesIO(content)), Scope(all_schools=True), lock=True)
        assert not plan.faults
        assert [line.outcome for line in plan.lines] == [expected]
        ledger.apply(session, plan, skip_bad_rows=False)
    assert session.execute(text("SELECT platform FROM device")).scalar_one() == kept


def test_an_unknown_kind_is_refused_by_name(session):
    """The refusal lists what there is."""
    content = f"{HEADER}\nT1,SERIAL1,E001,symbian\n".encode()
    plan = ledger.plan(session, csvfile.read_rows(io.BytesIO(content)), Scope(all_schools=True), lock=True)
    assert [fault.reason for fault in plan.faults] == ["platform: must be one of apple, android"]
