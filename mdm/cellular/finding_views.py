"""Show findings within a scope, by page or one by one: by control number, without numbers of lines or names."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import text
from sqlmodel import Session

from mdm.auth import Action, Principal
from mdm.auth.principal import SCOPE_SQL
from mdm.cellular.findings import OF_USE, SEVERITY, TITLES, Kind, Severity, severity
from mdm.cellular.models import FindingState
from mdm.devices import identifiers
from mdm.errors import NotFound

LIVE: Final = (FindingState.SUSPECTED, FindingState.OPEN)


@dataclass(frozen=True, slots=True)
class Filters:
    """Which findings; all that is given must fit. Without a state: what is not over."""

    kind: Kind | None = None
    state: FindingState | None = None
    severity: Severity | None = None
    school: str | None = None
    control_number: str | None = None
    sim_id: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A finding, with the tablet it speaks of and the other one, if there is one within the scope."""

    id: int
    kind: str
    severity: Severity
    title: str
    state: FindingState
    sim_id: int | None
    account: str | None
    device_id: int | None
    control_number: str | None
    other_device_id: int | None
    other_control_number: str | None
    school_code: str | None
    details: dict[str, Any]
    times: int
    first_at: datetime
    last_at: datetime
    opened_at: datetime | None
    closed_at: datetime | None
    closed_by: str | None
    close_reason: str | None


# A tablet's school is the one it has now; where no tablet is meant, the one that was noted.
_SCHOOL: Final = "coalesce(d.school_id, f.school_id)"
_FROM: Final = (
    "SELECT f.id, f.kind, f.state, f.sim_id, a.name AS account, f.device_id, d.control_number,"
    " o.id AS other_device_id, o.control_number AS other_control_number, c.code AS school_code, f.details, f.times,"
    " f.first_at, f.last_at, f.opened_at, f.closed_at, f.closed_by, f.close_reason"
    " FROM sim_finding f LEFT JOIN sim s ON s.id = f.sim_id LEFT JOIN carrier_account a ON a.id = s.account_id"
    f" LEFT JOIN device d ON d.id = f.device_id LEFT JOIN school c ON c.id = {_SCHOOL}"
    " LEFT JOIN device o ON o.id = CAST(f.details ->> 'other_device_id' AS bigint)"
    f" AND {SCOPE_SQL.format(column='o.school_id')} WHERE {SCOPE_SQL.format(column=_SCHOOL)}"
    " AND f.kind <> ALL(CAST(:hidden AS text[]))"
)


def find(session: Session, principal: Principal, filters: Filters, *, before: int | None, limit: int) -> list[Found]:
    """Return findings, newest first, those before `before` only."""
    conditions, parameters = _conditions(filters)
    if before is not None:
        conditions.append("f.id < :before")
        parameters["before"] = before
    statement = f"{_FROM} AND {' AND '.join(conditions)} ORDER BY f.id DESC LIMIT :limit"
    rows = session.execute(text(statement), parameters | _visible(principal) | {"limit": limit})
    return [_found(row._mapping) for row in rows]  # noqa: SLF001 - SQLAlchemy's public name for it


def one(session: Session, principal: Principal, finding_id: int) -> Found:
    """Return one finding; `NotFound` for what the principal does not see."""
    row = session.execute(text(f"{_FROM} AND f.id = :id"), _visible(principal) | {"id": finding_id}).first()
    if row is None:
        raise NotFound("there is no such finding")
    return _found(row._mapping)  # noqa: SLF001 - as above


def _visible(principal: Principal) -> dict[str, Any]:
    """Return the bounds of what is shown: schools, and whether findings of use are."""
    hidden = [] if principal.may(Action.READ_USAGE) else [kind.value for kind in OF_USE]
    return {"schools": principal.scope.parameter, "hidden": hidden}


def _conditions(filters: Filters) -> tuple[list[str], dict[str, Any]]:
    states = LIVE if filters.state is None else (filters.state,)
    conditions = ["f.state = ANY(CAST(:states AS text[]))"]
    parameters: dict[str, Any] = {"states": [state.value for state in states]}
    exact = {
        "f.kind": filters.kind.value if filters.kind else None,
        "c.code": filters.school,
        "d.control_number": identifiers.control_number(filters.control_number) if filters.control_number else None,
        "f.sim_id": filters.sim_id,
    }
    for number, (column, value) in enumerate(exact.items()):
        if value is not None:
            conditions.append(f"{column} = :exact{number}")
            parameters[f"exact{number}"] = value
    if filters.severity is not None:
        conditions.append("f.kind = ANY(CAST(:kinds AS text[]))")
        parameters["kinds"] = [kind.value for kind in Kind if severity(kind) is filters.severity]
    return conditions, parameters


def _found(row: Mapping[Any, Any]) -> Found:
    other = row["other_device_id"] is not None
    details = {name: value for name, value in row["details"].items() if other or not name.startswith("other_")}
    return Found(
        **{**row, "state": FindingState(row["state"]), "details": details},
        severity=SEVERITY.get(row["kind"], Severity.NORMAL),
        title=TITLES.get(row["kind"], row["kind"]),  # a newer version may know more kinds
    )
