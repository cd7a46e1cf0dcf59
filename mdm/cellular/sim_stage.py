"""A SIM file beside the inventory, in tables that end with the transaction: what it says, what is wrong, what changes.

So a file of any size is one row at a time in memory, and every question about it is one statement. Writes no SIM.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular import batches
from mdm.cellular.models import CarrierAccount, CarrierKind
from mdm.cellular.sim_columns import Column
from mdm.cellular.sim_entry import read_entry
from mdm.csvfile import Row

_BATCH: Final = 5000
_TABLES: Final = """
DROP TABLE IF EXISTS pg_temp.sim_stage;
CREATE TEMPORARY TABLE sim_stage (line integer, core text, iccid text, eid text, imsi text, msisdn text,
    carrier_sim_id text, plan text, pool text, status text, carrier_status text, control_number text,
    sim_id bigint, device_id bigint, pool_id bigint, changes text[], bad boolean NOT NULL DEFAULT false) ON COMMIT DROP
"""
_COPY_ENTRIES: Final = (
    "COPY sim_stage (line, core, iccid, eid, imsi, msisdn, carrier_sim_id, plan, pool, status, carrier_status,"
    " control_number) FROM STDIN"
)

_ONCE: Final = {
    "core": "the ICCID",
    "imsi": "the IMSI",
    "msisdn": "the telephone number",
    "carrier_sim_id": "the carrier's id",
    "control_number": "the control number",
}
"""What two lines of a file must not share. An eSIM's chip (EID) may hold several profiles."""
_KNOW: Final = """
CREATE INDEX ON sim_stage (core);
CREATE INDEX ON sim_stage (line);
UPDATE sim_stage st SET sim_id = s.id FROM sim s WHERE s.iccid_core = st.core;
UPDATE sim_stage st SET device_id = d.id FROM device d WHERE d.control_number = st.control_number;
UPDATE sim_stage st SET pool_id = p.id FROM plan_pool p WHERE p.name = st.pool AND p.account_id = {account};
CREATE INDEX ON sim_stage (sim_id);
CREATE INDEX ON import_note (line);
ANALYZE sim_stage
"""
_TWICE: Final = """
INSERT INTO import_note SELECT line, 'error', format(CAST(:what AS text) || ' is on line %s already', first) FROM (
    SELECT line, first_value(line) OVER (PARTITION BY {column} ORDER BY line) AS first
    FROM sim_stage WHERE {column} IS NOT NULL) x WHERE first <> line
"""
_STRANGE: Final = (
    (
        "INSERT INTO import_note SELECT st.line, 'error', 'the SIM belongs to another account'"
        " FROM sim_stage st JOIN sim s ON s.id = st.sim_id WHERE s.account_id <> :account"
    ),
    (
        "INSERT INTO import_note SELECT line, 'error', 'pool: the account has no pool of this name'"
        " FROM sim_stage WHERE pool IS NOT NULL AND pool_id IS NULL"
    ),
    (
        "INSERT INTO import_note SELECT line, 'error', 'control_number: the ledger has no such tablet'"
        " FROM sim_stage WHERE control_number IS NOT NULL AND device_id IS NULL"
    ),
)
_IN_THE_WAY: Final = {
    "the telephone number is another SIM's": "SELECT st.line, o.id AS other, t.line AS way FROM sim_stage st"
    " JOIN sim o ON o.msisdn = st.msisdn AND o.id IS DISTINCT FROM st.sim_id AND o.effective_status <> 'terminated'"
    " LEFT JOIN sim_stage t ON t.sim_id = o.id AND t.msisdn <> o.msisdn",
    "the IMSI is another SIM's": "SELECT st.line, o.id AS other, t.line AS way FROM sim_stage st"
    " JOIN sim o ON o.imsi = st.imsi AND o.id IS DISTINCT FROM st.sim_id AND o.effective_status <> 'terminated'"
    " LEFT JOIN sim_stage t ON t.sim_id = o.id AND t.imsi <> o.imsi",
    "the carrier's id is another SIM's": "SELECT st.line, o.id AS other, t.line AS way FROM sim_stage st"
    " JOIN sim o ON o.carrier_sim_id = st.carrier_sim_id AND o.account_id = :account"
    " AND o.id IS DISTINCT FROM st.sim_id"
    " LEFT JOIN sim_stage t ON t.sim_id = o.id AND t.carrier_sim_id <> o.carrier_sim_id",
    "the tablet has another SIM, which the file leaves in it": "SELECT st.line, b.sim_id AS other, t.line AS way"
    " FROM sim_stage st JOIN sim_binding b ON b.device_id = st.device_id AND b.valid_to IS NULL"
    " AND b.sim_id IS DISTINCT FROM st.sim_id"
    " LEFT JOIN sim_stage t ON t.sim_id = b.sim_id AND t.device_id <> b.device_id",
}
"""What another SIM has that a line wants, and the line that makes way for it, if there is one."""
_FOLLOW: Final = """
INSERT INTO import_note
WITH RECURSIVE needs (line, way) AS MATERIALIZED ({needs}), bad (line, because) AS (
    SELECT DISTINCT line, CAST(NULL AS integer) FROM import_note WHERE level = 'error'
    UNION SELECT n.line, n.way FROM needs n JOIN bad b ON b.line = n.way)
SELECT line, 'error', format('line %s, which would make way for it, is wrong', min(because)) FROM bad
WHERE line NOT IN (SELECT line FROM import_note WHERE level = 'error') GROUP BY line
"""
_BAD: Final = "UPDATE sim_stage SET bad = true WHERE line IN (SELECT line FROM import_note WHERE level = 'error')"

_DIFFERS: Final[dict[str, str]] = {
    Column.ICCID: "length(s.iccid_full) = 18 AND length(st.iccid) > 18",
    Column.EID: "st.eid <> s.eid OR (s.eid IS NULL AND st.eid IS NOT NULL)",
    Column.IMSI: "st.imsi <> s.imsi OR (s.imsi IS NULL AND st.imsi IS NOT NULL)",
    Column.MSISDN: "st.msisdn <> s.msisdn OR (s.msisdn IS NULL AND st.msisdn IS NOT NULL)",
    Column.CARRIER_SIM_ID: "st.carrier_sim_id <> s.carrier_sim_id"
    " OR (s.carrier_sim_id IS NULL AND st.carrier_sim_id IS NOT NULL)",
    Column.PLAN: "st.plan IS NOT NULL AND st.plan IS DISTINCT FROM p.code",
    Column.POOL: "st.pool_id IS NOT NULL AND st.pool_id IS DISTINCT FROM m.pool_id",
    Column.STATUS: "st.status IS NOT NULL AND (st.status, st.carrier_status) <> (s.effective_status, s.carrier_status)",
    Column.CONTROL_NUMBER: "st.device_id IS NOT NULL AND st.device_id IS DISTINCT FROM b.device_id",
}
KNOWN: Final = (
    "sim s LEFT JOIN plan p ON p.id = s.plan_id"
    " LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL LEFT JOIN device d ON d.id = b.device_id"
    " LEFT JOIN pool_membership m ON m.sim_id = s.id AND m.valid_to IS NULL LEFT JOIN plan_pool o ON o.id = m.pool_id"
)
_COMPARE: Final = (
    "UPDATE sim_stage st SET changes = array_remove(ARRAY["
    + ", ".join(f"CASE WHEN {differs} THEN '{column}' END" for column, differs in _DIFFERS.items())
    + f"], NULL) FROM {KNOWN} WHERE s.id = st.sim_id AND NOT st.bad"
)


def load(session: Session, rows: Iterable[Row[Column]]) -> None:
    """Read a file into the tables; nobody else waits for that."""
    batches.begin(session)
    for statement in _TABLES.split(";"):
        session.execute(text(statement))
    for batch in _batches(rows):
        entries, notes = [], []
        for row in batch:
            entry, said = read_entry(row)
            notes += said
            if entry is not None:
                entries.append(entry)
        batches.copy(session, _COPY_ENTRIES, [_cells(entry) for entry in entries])
        batches.note(session, notes)


def judge(session: Session, account: CarrierAccount) -> None:
    """Say of each line what is wrong with it beside the others and the inventory, and what it changes."""
    for statement in _KNOW.format(account=int(account.id or 0)).split(";"):
        session.execute(text(statement))
    _pass_status_over(session, account)
    _find_faults(session, account)
    session.execute(text(_COMPARE))


def _find_faults(session: Session, account: CarrierAccount) -> None:
    parameters = {"account": account.id}
    for column, what in _ONCE.items():
        session.execute(text(_TWICE.format(column=column)), {"what": what})
    for statement in _STRANGE:
        session.execute(text(statement), parameters)
    for reason, found in _IN_THE_WAY.items():
        session.execute(
            text(f"INSERT INTO import_note SELECT line, 'error', :reason FROM ({found}) x WHERE way IS NULL"),
            parameters | {"reason": reason},
        )
    needs = " UNION ".join(f"SELECT line, way FROM ({found}) x WHERE way IS NOT NULL" for found in _IN_THE_WAY.values())
    session.execute(text(_FOLLOW.format(needs=needs)), parameters)
    session.execute(text(_BAD))


def _pass_status_over(session: Session, account: CarrierAccount) -> None:
    """Where a carrier is asked itself, a file says less, and later: its column of states is not read."""
    if account.kind == CarrierKind.CSV:
        return
    said = session.execute(text("SELECT EXISTS (SELECT FROM sim_stage WHERE status IS NOT NULL)")).scalar_one()
    if said:
        session.execute(text("UPDATE sim_stage SET status = NULL, carrier_status = NULL"))
        reason = "status: passed over, the carrier is asked itself"
        session.execute(text("INSERT INTO import_note VALUES (1, 'information', :reason)"), {"reason": reason})


def _batches(rows: Iterable[Row[Column]]) -> Iterator[list[Row[Column]]]:
    source = iter(rows)
    while batch := list(islice(source, _BATCH)):
        yield batch


def _cells(entry: Any) -> tuple[Any, ...]:
    return (
        entry.line,
        entry.core,
        entry.full,
        entry.eid,
        entry.imsi,
        entry.msisdn,
        entry.carrier_sim_id,
        entry.plan,
        entry.pool,
        None if entry.status is None else entry.status.value,
        entry.carrier_status,
        entry.control_number,
    )
