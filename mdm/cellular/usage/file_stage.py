"""What a file says, beside the ledger until the transaction ends: which lines say the same twice, and writing the rest.

Rows are known by the file's line. Whether a figure can be was judged before.
"""

from enum import Enum
from typing import Final, LiteralString

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.models import CarrierAccount
from mdm.cellular.usage import bills, counters, ledger, stage
from mdm.cellular.usage.ledger import Recorded, Telling


class Form(Enum):
    """What the lines of a file are."""

    DAYS = "days"
    MONTHS = "months"
    """Of a cycle as a whole or so far: read like a counter that runs through it."""
    BILL = "bill"


COPIES: Final[dict[Form, LiteralString]] = {
    Form.DAYS: "COPY usage_told (n, sim_id, day, total, up, down, roaming, sessions, utc_offset) FROM STDIN",
    Form.MONTHS: "COPY usage_told_reading (n, sim_id, taken_at, cycle_start, total, sessions, final) FROM STDIN",
    Form.BILL: "COPY usage_bill (n, sim_id, cycle_start, total, yen) FROM STDIN",
}
_BEGIN: Final = {Form.DAYS: stage.begin, Form.MONTHS: counters.begin, Form.BILL: bills.begin}
_RECORD: Final = {Form.DAYS: ledger.record_told, Form.MONTHS: counters.record_told, Form.BILL: bills.close_told}
_TABLES: Final = {
    Form.DAYS: ("usage_told", "sim_id, day", "total, up, down, roaming, sessions"),
    Form.MONTHS: ("usage_told_reading", "sim_id, cycle_start", "total, sessions"),
    Form.BILL: ("usage_bill", "sim_id, cycle_start", "total, yen"),
}
"""Where the lines of a file stand, by what they are known, and what they say."""


def begin(session: Session, form: Form) -> None:
    """Have an empty table for the lines of a file."""
    _BEGIN[form](session)


def judge(session: Session, form: Form) -> int:
    """Leave out lines that repeat another, note those that contradict it, and return how many lines are wrong."""
    table, key, says = _TABLES[form]
    session.execute(text("SET LOCAL work_mem = '64MB'"))
    session.execute(text(_REPEATED.format(table=table, key=key, says=says)))
    session.execute(text(f"DELETE FROM {table} WHERE n IN (SELECT line FROM import_note)"))
    errors: int = session.execute(
        text("SELECT count(DISTINCT line) FROM import_note WHERE level = 'error'")
    ).scalar_one()
    return errors


def record(session: Session, account: CarrierAccount, telling: Telling, form: Form) -> Recorded:
    """Write what stands there into the ledger."""
    return _RECORD[form](session, account, telling)


_REPEATED: Final = """
INSERT INTO import_note
SELECT n, CASE WHEN same THEN 'information' ELSE 'error' END, format(CASE WHEN same THEN 'says the same as line %s'
    ELSE 'line %s says something else of the same SIM and time' END, first)
FROM (
    SELECT n, first_value(n) OVER w AS first,
        CAST(ROW({says}) AS text) = first_value(CAST(ROW({says}) AS text)) OVER w AS same
    FROM {table} WINDOW w AS (PARTITION BY {key} ORDER BY n)
) x WHERE first <> n
"""
