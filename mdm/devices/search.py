"""Find tablets in the ledger within a scope, by page or one by one, and set a tablet's ledger state. Opens no name."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth.principal import SCOPE_SQL, Scope
from mdm.devices import identifiers
from mdm.devices.ledger import hold
from mdm.devices.models import EnrollmentStatus, LedgerState, VerificationStatus
from mdm.errors import NotFound

_COLUMNS = (
    "d.id, d.control_number, d.serial, d.platform, d.model, d.imei, d.iccid, s.code AS school_code,"
    " s.name AS school_name, d.holder_id, h.user_id, c.year, c.name AS class_name, d.lease_contract, d.state,"
    " d.updated_at, coalesce(e.status, 'absent') AS enrollment, e.epoch, e.supervised, e.os_version, e.product,"
    " coalesce(e.lost_mode, false) AS lost_mode, e.enrolled_at, e.last_seen_at, e.last_push_at,"
    " e.desired_manifest IS NOT NULL AND e.desired_manifest IS NOT DISTINCT FROM e.installed_manifest AS up_to_date,"
    " v.status AS verification, v.healed_at, v.findings"
)
_TABLES = (
    "device d JOIN school s ON s.id = d.school_id LEFT JOIN holder h ON h.id = d.holder_id"
    " LEFT JOIN school_class c ON c.id = h.class_id LEFT JOIN enrollment e ON e.device_id = d.id"
    # It speaks of what the tablet should hold now, and only once that was installed.
    " LEFT JOIN verification v ON v.device_id = d.id AND e.status = 'active' AND v.manifest = e.desired_manifest"
    " AND (v.manifest = e.installed_manifest OR v.status = 'healing')"
)


STARTS = ("control_number", "serial", "user_id", "imei", "iccid")


@dataclass(frozen=True, slots=True)
class Filters:
    """What to look for; all that is given must fit."""

    q: str | None = None
    """The start of a control number, serial number, user id, IMEI or ICCID."""
    control_number: str | None = None
    serial: str | None = None
    imei: str | None = None
    iccid: str | None = None
    user_id: str | None = None
    school: str | None = None
    year: int | None = None
    class_name: str | None = None
    state: LedgerState | None = None
    enrollment: EnrollmentStatus | None = None
    verification: VerificationStatus | None = None
    starts: tuple[str, ...] = STARTS
    """Where `q` is looked for."""


@dataclass(frozen=True, slots=True)
class Found:
    """A tablet as the ledger and its enrolment tell it; the holder by user id only."""

    id: int
    control_number: str
    serial: str
    platform: str
    model: str
    imei: str | None
    iccid: str | None
    school_code: str
    school_name: str
    holder_id: int | None
    user_id: str | None
    year: int | None
    class_name: str | None
    lease_contract: str
    state: LedgerState
    updated_at: datetime
    enrollment: EnrollmentStatus
    epoch: int | None
    supervised: bool | None
    os_version: str | None
    product: str | None
    lost_mode: bool
    enrolled_at: datetime | None
    last_seen_at: datetime | None
    last_push_at: datetime | None
    up_to_date: bool
    verification: VerificationStatus | None
    """None until everything is installed, and where there is nothing to install."""
    healed_at: datetime | None
    findings: list[dict[str, Any]] | None


@dataclass(frozen=True, slots=True)
class ReportLine:
    """The latest answer of a tablet to one inventory question: which, and when it came."""

    kind: str
    received_at: datetime


_STARTS_WITH = {
    "control_number": "starts_with(d.control_number, :q)",
    "serial": "starts_with(d.serial, :upper)",
    "user_id": "starts_with(h.user_id, :q)",
    "imei": "starts_with(d.imei, :q)",
    "iccid": "starts_with(d.iccid, :q)",
}


def _conditions(filters: Filters) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions of a search and their parameters; `Invalid` for an IMEI or ICCID that is none."""
    exact = {
        "d.control_number": identifiers.control_number(filters.control_number) if filters.control_number else None,
        "d.serial": identifiers.serial(filters.serial) if filters.serial else None,
        "h.user_id": filters.user_id,
        "s.code": filters.school,
        "c.year": filters.year,
        "c.name": filters.class_name,
        "d.state": filters.state.value if filters.state else None,
        "coalesce(e.status, 'absent')": filters.enrollment.value if filters.enrollment else None,
        "v.status": filters.verification.value if filters.verification else None,
    }
    conditions, parameters = [], {}
    for number, (column, value) in enumerate(exact.items()):
        if value is not None:
            conditions.append(f"{column} = :exact{number}")
            parameters[f"exact{number}"] = value
    # Two forms of one number share their first digits (A3.2).
    for name, key in (
        ("imei", identifiers.imei(filters.imei).key if filters.imei else None),
        ("iccid", identifiers.iccid(filters.iccid).key if filters.iccid else None),
    ):
        if key is not None:
            conditions.append(f"starts_with(d.{name}, :{name})")
            parameters[name] = key
    if filters.q and filters.q.strip():
        q = filters.q.strip()
        parameters |= {"q": q, "upper": q.upper()}
        conditions.append(f"({' OR '.join(_STARTS_WITH[each] for each in filters.starts)})")
    return conditions, parameters


def find(session: Session, scope: Scope, filters: Filters, *, after: str | None, limit: int) -> list[Found]:
    """Return tablets in the order of their control numbers, those after `after` only."""
    conditions, parameters = _conditions(filters)
    conditions.append(SCOPE_SQL.format(column="d.school_id"))
    if after is not None:
        conditions.append("d.control_number > :after")
        parameters["after"] = after
    statement = (
        f"SELECT {_COLUMNS} FROM {_TABLES} WHERE {' AND '.join(conditions)} ORDER BY d.control_number LIMIT :limit"
    )
    rows = session.execute(text(statement), parameters | {"schools": scope.parameter, "limit": limit})
    return [_found(dict(row._mapping)) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def one(session: Session, scope: Scope, device_id: int) -> Found:
    """Return one tablet; `NotFound` outside the scope."""
    statement = f"SELECT {_COLUMNS} FROM {_TABLES} WHERE d.id = :id AND {SCOPE_SQL.format(column='d.school_id')}"
    row = session.execute(text(statement), {"id": device_id, "schools": scope.parameter}).first()
    if row is None:
        raise NotFound("there is no such tablet")
    return _found(dict(row._mapping))  # noqa: SLF001 - as above


def everything(session: Session, scope: Scope) -> Iterator[Found]:
    """Yield every tablet in scope in the order of control numbers, a thousand at a time."""
    after: str | None = None
    while True:
        batch = find(session, scope, Filters(), after=after, limit=1000)
        yield from batch
        if len(batch) < 1000:
            return
        after = batch[-1].control_number


def reports(session: Session, device_id: int) -> list[ReportLine]:
    """Return which inventory answers a tablet has given, newest first."""
    statement = text(
        "SELECT kind, received_at FROM device_report WHERE device_id = :id ORDER BY received_at DESC, kind"
    )
    return [ReportLine(kind, at) for kind, at in session.execute(statement, {"id": device_id})]


def set_state(session: Session, scope: Scope, device_id: int, state: LedgerState) -> LedgerState:
    """Set where a tablet stands and return where it stood. `NotFound` out of scope.

    No state takes anything from a tablet: a lost or retired one stays managed, and is only not let in anew. Letting a
    tablet go would remove its profiles, which is not for one person's keystroke (operations.md §2.3, class A).
    """
    # An import writes whole rows: what it has read must not change under it.
    hold(session)
    statement = f"SELECT d.state FROM device d WHERE d.id = :id AND {SCOPE_SQL.format(column='d.school_id')} FOR UPDATE"
    before = session.execute(text(statement), {"id": device_id, "schools": scope.parameter}).scalar()
    if before is None:
        raise NotFound("there is no such tablet")
    if before != state:
        session.execute(
            text("UPDATE device SET state = :state, updated_at = now() WHERE id = :id"),
            {"id": device_id, "state": state.value},
        )
    return LedgerState(before)


def _found(row: Mapping[str, Any]) -> Found:
    verification = None if row["verification"] is None else VerificationStatus(row["verification"])
    enums = {"state": LedgerState(row["state"]), "enrollment": EnrollmentStatus(row["enrollment"])}
    return Found(**{**row, **enums, "verification": verification})
