"""Find SIMs within a scope, by page or one by one. Knows the tablet by its control number, and no holder.

A line belongs to a school through the tablet that it is in: outside the scope, and for people of one school where it is
in none, it does not exist.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import SCOPE_SQL, Scope
from mdm.cellular.models import SimStatus
from mdm.devices import identifiers
from mdm.errors import Invalid, NotFound

_COLUMNS: Final = (
    "s.id, s.iccid_core, s.iccid_full AS iccid, s.eid, s.imsi, s.msisdn, a.name AS account, s.carrier_sim_id,"
    " p.code AS plan, o.name AS pool, s.carrier_status, s.intended_status, s.intended_at, s.effective_status,"
    " s.status_seen_at, s.status_changed_at, s.intended_speed, s.effective_speed, s.imei_seen, s.imei_seen_at,"
    " s.imei_lock, s.last_online_at, s.missing_since, s.source, s.created_at, s.updated_at, d.id AS device_id,"
    " d.control_number, d.state AS device_state, b.valid_from AS bound_since, b.source AS bound_by"
)
_TABLES: Final = (
    "sim s JOIN carrier_account a ON a.id = s.account_id LEFT JOIN plan p ON p.id = s.plan_id"
    " LEFT JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL LEFT JOIN device d ON d.id = b.device_id"
    " LEFT JOIN school c ON c.id = d.school_id"
    " LEFT JOIN pool_membership m ON m.sim_id = s.id AND m.valid_from <= now()"
    " AND (m.valid_to IS NULL OR m.valid_to > now()) LEFT JOIN plan_pool o ON o.id = m.pool_id"
)
_BATCH: Final = 1000


@dataclass(frozen=True, slots=True)
class Filters:
    """What to look for; all that is given must fit."""

    q: str | None = None
    """The start of an ICCID, telephone number, IMSI or control number."""
    iccid: str | None = None
    imsi: str | None = None
    msisdn: str | None = None
    eid: str | None = None
    control_number: str | None = None
    account: str | None = None
    plan: str | None = None
    pool: str | None = None
    school: str | None = None
    status: SimStatus | None = None
    bound: bool | None = None
    missing: bool | None = None
    """Whether the carrier's whole list has left it out."""
    unsettled: bool | None = None
    """Whether what we asked for is not yet what the carrier says."""


@dataclass(frozen=True, slots=True)
class Found:
    """A SIM, the account, plan and pool it is in, and the tablet."""

    id: int
    iccid_core: str
    iccid: str
    eid: str | None
    imsi: str | None
    msisdn: str | None
    account: str
    carrier_sim_id: str | None
    plan: str | None
    pool: str | None
    carrier_status: str
    intended_status: SimStatus | None
    intended_at: datetime | None
    effective_status: SimStatus
    status_seen_at: datetime | None
    status_changed_at: datetime | None
    intended_speed: str | None
    effective_speed: str | None
    imei_seen: str | None
    imei_seen_at: datetime | None
    imei_lock: str | None
    last_online_at: datetime | None
    missing_since: datetime | None
    source: str
    created_at: datetime
    updated_at: datetime
    device_id: int | None
    control_number: str | None
    device_state: str | None
    bound_since: datetime | None
    bound_by: str | None

    def __repr__(self) -> str:
        """Leave every number out."""
        return f"Found(id={self.id})"


@dataclass(frozen=True, slots=True)
class Membership:
    """One stretch of time of a SIM in a pool."""

    pool: str
    valid_from: datetime
    valid_to: datetime | None
    reason: str
    set_by: str


def find(session: Session, scope: Scope, filters: Filters, *, after: int | None, limit: int) -> list[Found]:
    """Return SIMs in the order in which they became known, those after `after` only."""
    conditions, parameters = _conditions(filters)
    conditions += [SCOPE_SQL.format(column="d.school_id"), "s.id > :after"]
    parameters |= {"schools": scope.parameter, "after": after or 0, "limit": limit}
    statement = f"SELECT {_COLUMNS} FROM {_TABLES} WHERE {' AND '.join(conditions)} ORDER BY s.id LIMIT :limit"
    return [_found(row._mapping) for row in session.execute(text(statement), parameters)]  # noqa: SLF001 - a public name


def one(session: Session, scope: Scope, sim_id: int) -> Found:
    """Return one SIM; `NotFound` outside the scope."""
    statement = f"SELECT {_COLUMNS} FROM {_TABLES} WHERE s.id = :id AND {SCOPE_SQL.format(column='d.school_id')}"
    row = session.execute(text(statement), {"id": sim_id, "schools": scope.parameter}).first()
    if row is None:
        raise NotFound("there is no such SIM")
    return _found(row._mapping)  # noqa: SLF001 - as above


def everything(session: Session, scope: Scope, filters: Filters) -> Iterator[Found]:
    """Yield every SIM in scope that fits, a thousand at a time."""
    after: int | None = None
    while True:
        batch = find(session, scope, filters, after=after, limit=_BATCH)
        yield from batch
        if len(batch) < _BATCH:
            return
        after = batch[-1].id


def memberships(session: Session, sim_id: int) -> list[Membership]:
    """Return the pools that a SIM was, is and will be in, newest first."""
    rows = session.execute(
        text(
            "SELECT o.name, m.valid_from, m.valid_to, m.reason, m.set_by FROM pool_membership m"
            " JOIN plan_pool o ON o.id = m.pool_id WHERE m.sim_id = :id ORDER BY m.valid_from DESC"
        ),
        {"id": sim_id},
    )
    return [Membership(*row) for row in rows]


def _conditions(filters: Filters) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions of a search and their parameters; `Invalid` for a number that is none."""
    exact = {
        "s.imsi": identifiers.imsi(filters.imsi) if filters.imsi else None,
        "s.msisdn": identifiers.msisdn(filters.msisdn) if filters.msisdn else None,
        "s.eid": identifiers.eid(filters.eid) if filters.eid else None,
        "s.iccid_core": identifiers.iccid(filters.iccid).key if filters.iccid else None,
        "d.control_number": identifiers.control_number(filters.control_number) if filters.control_number else None,
        "a.name": filters.account,
        "p.code": filters.plan,
        "o.name": filters.pool,
        "c.code": filters.school,
        "s.effective_status": filters.status.value if filters.status else None,
    }
    flags = {
        "b.id IS NOT NULL": filters.bound,
        "s.missing_since IS NOT NULL": filters.missing,
        "s.intended_status IS DISTINCT FROM s.effective_status AND s.intended_status IS NOT NULL": filters.unsettled,
    }
    conditions = [f"({flag}) = {str(value).lower()}" for flag, value in flags.items() if value is not None]
    parameters: dict[str, Any] = {}
    for number, (column, value) in enumerate(exact.items()):
        if value is not None:
            conditions.append(f"{column} = :exact{number}")
            parameters[f"exact{number}"] = value
    if filters.q and filters.q.strip():
        parameters |= _starts(filters.q.strip())
        conditions.append(
            "(starts_with(s.iccid_core, :q) OR starts_with(s.iccid_full, :q) OR starts_with(s.imsi, :q)"
            " OR starts_with(s.msisdn, :number) OR starts_with(d.control_number, :q))"
        )
    return conditions, parameters


def _starts(q: str) -> dict[str, str]:
    """Return what a search begins with; a domestic number finds the line that is kept with its country code."""
    try:
        return {"q": q, "number": identifiers.msisdn(q)}
    except Invalid:
        digits = q.removeprefix("+")
        return {"q": q, "number": "81" + digits[1:] if digits.startswith("0") else digits}


def _found(row: Mapping[Any, Any]) -> Found:
    intended = None if row["intended_status"] is None else SimStatus(row["intended_status"])
    effective = SimStatus(row["effective_status"])
    return Found(**{**row, "intended_status": intended, "effective_status": effective})
