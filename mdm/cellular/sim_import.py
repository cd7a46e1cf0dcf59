"""SIM files: plan what one would do, and do it. Removes nothing: what a file leaves out stays, and is counted.

All or nothing where a line is wrong, unless the caller skips bad lines. The same file twice does nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular import bindings, plans, pools, sim_stage
from mdm.cellular.bindings import Word
from mdm.cellular.locks import hold
from mdm.cellular.models import BindingSource, CarrierAccount
from mdm.cellular.sim_columns import Column
from mdm.csvfile import Row

_NUMBERS: Final = frozenset({Column.ICCID, Column.EID, Column.IMSI, Column.MSISDN})
_BATCH: Final = 5000


@dataclass(frozen=True, slots=True)
class Counts:
    """What a file does, or would do."""

    new: int
    changed: int
    unchanged: int
    errors: int
    plans: int
    """Plans that the account does not have yet."""
    absent: int
    """SIMs of the account, not terminated, that no line of the file names."""


@dataclass(frozen=True, slots=True)
class Line:
    """What happens to the SIM of one line; of numbers only the ends."""

    line: int
    sim_id: int | None
    outcome: str
    changes: list[tuple[str, str, str]] = field(default_factory=list)


def plan(session: Session, rows: Iterable[Row[Column]], account: CarrierAccount, *, lock: bool) -> Counts:
    """Compare a file with the inventory; with `lock`, so that nobody writes in between."""
    sim_stage.load(session, rows)
    if lock:
        hold(session, with_ledger=True)
    sim_stage.judge(session, account)
    row = session.execute(text(_COUNT), {"account": account.id}).one()
    return Counts(**row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it


def lines(session: Session, *, limit: int) -> list[Line]:
    """Return the first lines that are new or changed, with what changes."""
    rows = session.execute(text(_LINES), {"limit": limit})
    return [
        Line(
            row.line,
            row.sim_id,
            "new" if row.sim_id is None else "changed",
            [_change(name, row._mapping) for name in row.changes or ()],  # noqa: SLF001 - as above
        )
        for row in rows
    ]


def apply(session: Session, account: CarrierAccount, counts: Counts, *, by: str, whole: bool) -> int:
    """Write what was planned, bad lines left out; return how many tablets got another SIM.

    `whole`: the file claims to name every SIM of the account, so those it leaves out are marked missing, unless a line
    is wrong, for then nobody knows which it was.
    """
    parameters = {"account": account.id}
    for statement in _WRITE:
        session.execute(text(statement), parameters)
    pairs = session.execute(text(_PAIRS)).all()
    if pairs:
        word = Word(by, BindingSource.IMPORT, "by a file of SIMs")
        bindings.write(session, [(row.sim_id, row.device_id) for row in pairs], word)
    _join_pools(session, account, by)
    if whole and not counts.errors:
        session.execute(text(_LISTED))
        session.execute(text(_MISSING), parameters)
    return len(pairs) + bindings.follow_ledger(session)


def _join_pools(session: Session, account: CarrierAccount, by: str) -> None:
    """A first pool counts from the beginning of the present cycle, another one from the next: as carriers do it."""
    this, following = plans.this_cycle(account), plans.next_cycle(account)
    after = 0
    while True:
        rows = session.execute(text(_POOLS), {"after": after, "limit": _BATCH}).all()
        for first, start in ((True, this), (False, following)):
            wishes: dict[int, int | None] = {row.sim_id: row.pool_id for row in rows if row.first is first}
            if wishes:
                pools.join(session, wishes, start, by=by, reason="by a file of SIMs")
        if len(rows) < _BATCH:
            return
        after = rows[-1].line


def _change(name: str, row: Any) -> tuple[str, str, str]:
    old, new = (str(row[f"{side}_{name}"] or "") for side in ("old", "new"))
    if name in _NUMBERS:
        old, new = (f"…{value[-4:]}" if value else "" for value in (old, new))
    return name, old, new


_COUNT: Final = """
SELECT count(*) FILTER (WHERE NOT bad AND sim_id IS NULL) AS new,
    count(*) FILTER (WHERE NOT bad AND sim_id IS NOT NULL AND changes <> '{}') AS changed,
    count(*) FILTER (WHERE NOT bad AND sim_id IS NOT NULL AND changes = '{}') AS unchanged,
    (SELECT count(DISTINCT line) FROM import_note WHERE level = 'error') AS errors,
    (SELECT count(*) FROM (SELECT DISTINCT plan FROM sim_stage WHERE NOT bad AND plan IS NOT NULL
        EXCEPT SELECT code FROM plan WHERE account_id = :account) x) AS plans,
    (SELECT count(*) FROM sim s WHERE s.account_id = :account AND s.effective_status <> 'terminated'
        AND NOT EXISTS (SELECT FROM sim_stage t WHERE t.sim_id = s.id)) AS absent
FROM sim_stage
"""
_LINES: Final = f"""
SELECT st.line, st.sim_id, st.changes, s.iccid_full AS old_iccid, st.iccid AS new_iccid, s.eid AS old_eid,
    st.eid AS new_eid, s.imsi AS old_imsi, st.imsi AS new_imsi, s.msisdn AS old_msisdn, st.msisdn AS new_msisdn,
    s.carrier_sim_id AS old_carrier_sim_id, st.carrier_sim_id AS new_carrier_sim_id, p.code AS old_plan,
    st.plan AS new_plan, o.name AS old_pool, st.pool AS new_pool, s.effective_status AS old_status,
    st.status AS new_status, d.control_number AS old_control_number, st.control_number AS new_control_number
FROM sim_stage st LEFT JOIN ({sim_stage.KNOWN}) ON s.id = st.sim_id
WHERE NOT st.bad AND (st.sim_id IS NULL OR st.changes <> '{{}}') ORDER BY st.line LIMIT :limit
"""
_WRITE: Final = (
    (
        "INSERT INTO plan (account_id, code, name) SELECT DISTINCT CAST(:account AS bigint), plan, plan FROM sim_stage"
        " WHERE NOT bad AND plan IS NOT NULL ON CONFLICT (account_id, code) DO NOTHING"
    ),
    # Two SIMs may change places; a unique index looks at each row by itself.
    (
        "UPDATE sim s SET carrier_sim_id = NULL FROM sim_stage st"
        " WHERE s.id = st.sim_id AND NOT st.bad AND 'carrier_sim_id' = ANY(st.changes)"
    ),
    (
        "UPDATE sim s SET eid = coalesce(st.eid, s.eid), imsi = coalesce(st.imsi, s.imsi),"
        " iccid_full = CASE WHEN 'iccid' = ANY(st.changes) THEN st.iccid ELSE s.iccid_full END,"
        " msisdn = coalesce(st.msisdn, s.msisdn), carrier_sim_id = coalesce(st.carrier_sim_id, s.carrier_sim_id),"
        " plan_id = coalesce("
        "(SELECT p.id FROM plan p WHERE p.account_id = s.account_id AND p.code = st.plan), s.plan_id),"
        " status_changed_at = CASE WHEN st.status <> s.effective_status THEN now() ELSE s.status_changed_at END,"
        " effective_status = coalesce(st.status, s.effective_status),"
        " carrier_status = coalesce(st.carrier_status, s.carrier_status),"
        " updated_at = now() FROM sim_stage st"
        " WHERE s.id = st.sim_id AND NOT st.bad AND st.changes && ARRAY['iccid', 'eid', 'imsi', 'msisdn',"
        " 'carrier_sim_id', 'plan', 'status']"
    ),
    (
        "INSERT INTO sim (iccid_core, iccid_full, eid, imsi, msisdn, account_id, carrier_sim_id, plan_id, source,"
        " carrier_status, effective_status, status_changed_at)"
        " SELECT st.core, st.iccid, st.eid, st.imsi, st.msisdn, :account, st.carrier_sim_id, p.id, 'import',"
        " coalesce(st.carrier_status, ''), coalesce(st.status, 'unknown'), "
        " CASE WHEN st.status IS NOT NULL THEN now() END"
        " FROM sim_stage st LEFT JOIN plan p ON p.account_id = :account AND p.code = st.plan"
        " WHERE st.sim_id IS NULL AND NOT st.bad ORDER BY st.line"
    ),
    (
        "UPDATE sim_stage st SET sim_id = s.id FROM sim s"
        " WHERE s.iccid_core = st.core AND st.sim_id IS NULL AND NOT st.bad"
    ),
    (
        "UPDATE sim s SET status_seen_at = now() FROM sim_stage st"
        " WHERE s.id = st.sim_id AND NOT st.bad AND st.status IS NOT NULL"
    ),
)
_PAIRS: Final = """
SELECT st.sim_id, st.device_id FROM sim_stage st WHERE NOT st.bad AND st.device_id IS NOT NULL AND NOT EXISTS (
    SELECT FROM sim_binding b WHERE b.sim_id = st.sim_id AND b.device_id = st.device_id AND b.valid_to IS NULL)
"""
_POOLS: Final = """
SELECT st.line, st.sim_id, st.pool_id, NOT EXISTS (SELECT FROM pool_membership m WHERE m.sim_id = st.sim_id) AS first
FROM sim_stage st WHERE NOT st.bad AND st.pool_id IS NOT NULL AND st.line > :after
    AND (st.changes IS NULL OR 'pool' = ANY(st.changes)) ORDER BY st.line LIMIT :limit
"""
_LISTED: Final = """
UPDATE sim s SET listed_at = now(), missing_since = NULL FROM sim_stage st WHERE s.id = st.sim_id
"""
_MISSING: Final = """
UPDATE sim s SET missing_since = now() WHERE s.account_id = :account AND s.missing_since IS NULL
    AND s.effective_status <> 'terminated' AND NOT EXISTS (SELECT FROM sim_stage st WHERE st.sim_id = s.id)
"""
