"""Hand a holder from one tablet to another in the ledger, and back. Knows no case, and wakes nobody.

What the tablets should hold follows the ledger: both are marked stale, and recomputed by their job.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlmodel import Session

from mdm import jobs
from mdm.auth import SCOPE_SQL, Scope
from mdm.devices.ledger import hold
from mdm.devices.models import LedgerState
from mdm.errors import Conflict, NotFound
from mdm.jobs import Job


class NotASpare(Conflict):
    """The tablet cannot be handed out instead of the other."""

    slug = "not-a-spare"


@dataclass(frozen=True, slots=True)
class Standing:
    """A tablet's line in the ledger, as far as it decides a handover."""

    id: int
    control_number: str
    school_id: int
    platform: str
    holder_id: int | None
    state: LedgerState


def locked_pair(session: Session, scope: Scope, first_id: int, second_id: int) -> tuple[Standing, Standing]:
    """Return two tablets in scope, in this order, and keep everybody else from changing them."""
    hold(session)  # an import writes whole rows: what it has read must not change under it
    rows = session.execute(
        text(
            "SELECT d.id, d.control_number, d.school_id, d.platform, d.holder_id, d.state FROM device d"
            f" WHERE d.id IN (:first, :second) AND {SCOPE_SQL.format(column='d.school_id')} ORDER BY d.id FOR UPDATE"
        ),
        {"first": first_id, "second": second_id, "schools": scope.parameter},
    )
    found = {
        row.id: Standing(row.id, row.control_number, row.school_id, row.platform, row.holder_id, LedgerState(row.state))
        for row in rows
    }
    if first_id not in found or second_id not in found:
        raise NotFound("there is no such tablet")
    if first_id == second_id:
        raise NotASpare("a tablet cannot be handed out instead of itself")
    return found[first_id], found[second_id]


def hand_out(session: Session, broken: Standing, spare: Standing) -> None:
    """Let the holder of a broken tablet have a spare of the same school instead; `NotASpare` names what is against it.

    The broken one is in repair from then on, and nobody's.
    """
    if broken.holder_id is None:
        raise NotASpare("nobody has the broken tablet, so nobody needs a spare")
    if spare.school_id != broken.school_id:
        raise NotASpare(f"{spare.control_number} belongs to another school")
    if spare.platform != broken.platform:
        raise NotASpare(f"{spare.control_number} is another kind of tablet")
    if spare.state is not LedgerState.STOCK or spare.holder_id is not None:
        raise NotASpare(f"{spare.control_number} is not in stock")
    _write(session, broken.id, None, LedgerState.REPAIR)
    _write(session, spare.id, broken.holder_id, LedgerState.ISSUED)
    _recompute(session, broken.id, spare.id)


def take_back(session: Session, broken: Standing, spare: Standing) -> None:
    """Undo `hand_out`: the holder has the first tablet again and the spare is in stock. `Conflict` if either moved."""
    if broken.holder_id is not None or spare.holder_id is None or spare.state is not LedgerState.ISSUED:
        raise Conflict("one of the two tablets has changed hands since; the ledger must be put right by hand")
    _write(session, spare.id, None, LedgerState.STOCK)
    _write(session, broken.id, spare.holder_id, LedgerState.ISSUED)
    _recompute(session, broken.id, spare.id)


def _write(session: Session, device_id: int, holder_id: int | None, state: LedgerState) -> None:
    session.execute(
        text("UPDATE device SET holder_id = :holder, state = :state, updated_at = now() WHERE id = :id"),
        {"id": device_id, "holder": holder_id, "state": state.value},
    )


def _recompute(session: Session, *device_ids: int) -> None:
    session.execute(
        text("UPDATE enrollment SET desired_stale = true WHERE device_id = ANY(CAST(:ids AS bigint[]))"),
        {"ids": list(device_ids)},
    )
    jobs.ring(session, Job.RETARGET, device_ids=sorted(device_ids))
