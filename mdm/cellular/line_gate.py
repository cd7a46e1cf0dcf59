"""Whether a line may be cut now, by what its tablet still has to hear. Reads commands and the ledger; asks nobody.

The same for every door: API, command line and jobs. Cases have stricter facts of their own and ask `sim_gate` first.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.cellular import sim_gate
from mdm.cellular.sim_gate import USUAL_WAIT, WARNING, Allowed, Landed, Refused
from mdm.commands.history import ANY
from mdm.commands.kinds import Kind
from mdm.commands.models import LIVE_STATES, CommandState
from mdm.devices.models import EnrollmentStatus, LedgerState

_LOCKS: Final = (Kind.LOST_MODE_ON.value, Kind.LOCK_SCREEN.value)
_FREE: Final = Kind.LOST_MODE_OFF.value
_TAKEN_BACK: Final = (CommandState.CANCELLED.value, CommandState.SUPERSEDED.value)
_RECENT: Final = timedelta(days=2)


@dataclass(frozen=True, slots=True)
class Standing:
    """What a tablet was told that must not be cut off, and since when the latest of it is on its way."""

    lock: Landed = Landed.NOT_WANTED
    wipe: Landed = Landed.NOT_WANTED
    since: datetime | None = None


def judge(
    session: Session,
    sim_id: int,
    *,
    reason: str,
    wait: timedelta = USUAL_WAIT,
    wished_after: datetime | None = None,
) -> Allowed | Refused:
    """Say whether a line may be suspended. `wished_after`: only what was asked of the tablet since then counts."""
    row = session.execute(text(_TABLET), {"sim": sim_id}).first()
    if row is None or row.status != EnrollmentStatus.ACTIVE:
        return Allowed()  # no tablet could be told anything by this line
    if is_elsewhere(session, sim_id):
        return Allowed("the network sees the SIM in a device that is not ours: the tablet is not on this line")
    found = standing(session, row.device_id, row.epoch)
    if wished_after is not None:
        return _since(found, wished_after)
    if found.since is None:
        return _untold(lost=row.state == LedgerState.LOST, lost_mode=row.lost_mode)
    return sim_gate.decide(
        lock=Landed.LANDED if found.lock is Landed.NOT_WANTED else found.lock,
        wipe=found.wipe,
        reason=reason,
        waiting_since=found.since,
        now=clock.now(),
        wait=wait,
    )


def is_elsewhere(session: Session, sim_id: int) -> bool:
    """Say whether the network sees a line in a radio that is no tablet of ours: then cutting it cuts off no tablet.

    Seen within two days, and after the tablet was last heard of (A3.4).
    """
    return bool(session.execute(text(_ELSEWHERE), {"sim": sim_id, "recent": _RECENT}).scalar_one())


def standing(session: Session, device_id: int, epoch: int) -> Standing:
    """Return how far lock and wipe of a tablet's present enrolment have come, whoever asked for them."""
    kinds = [*_LOCKS, _FREE, Kind.WIPE.value]
    rows = session.execute(
        select(ANY.kind, ANY.state, ANY.created_at)
        .where(
            col(ANY.device_id) == device_id,
            col(ANY.epoch) == epoch,
            col(ANY.kind).in_(kinds),
            col(ANY.state).not_in(_TAKEN_BACK),
        )
        .order_by(col(ANY.id).desc())
    ).all()
    # What was asked for before the tablet was set free again is over.
    freed = next((place for place, row in enumerate(rows) if row.kind == _FREE), len(rows))
    lock = next((row for row in rows[:freed] if row.kind in _LOCKS), None)
    wipe = next((row for row in rows[:freed] if row.kind == Kind.WIPE), None)
    moments = [row.created_at for row in (lock, wipe) if row is not None]
    return Standing(_landed(lock), _landed(wipe), max(moments, default=None))


def _landed(row: object) -> Landed:
    state = getattr(row, "state", None)
    if state is None:
        return Landed.NOT_WANTED
    if state == CommandState.DONE:
        return Landed.LANDED
    return Landed.UNDER_WAY if state in LIVE_STATES else Landed.FAILED


def _since(found: Standing, wished_after: datetime) -> Allowed | Refused:
    missing = bool({found.lock, found.wipe} & {Landed.UNDER_WAY, Landed.FAILED})
    if missing and found.since is not None and found.since > wished_after:
        return Refused("a lock or wipe was asked for since, and has not landed; the SIM is the only way to the tablet")
    return Allowed()


def _untold(*, lost: bool, lost_mode: bool) -> Allowed | Refused:
    """Judge the line of a tablet that was told nothing."""
    if lost and not lost_mode:
        return Refused("lock the tablet first: without its SIM it cannot be locked any more")
    return Allowed(WARNING if lost else None)


_TABLET: Final = (
    "SELECT b.device_id, d.state, e.status, e.epoch, e.lost_mode FROM sim_binding b JOIN device d ON d.id = b.device_id"
    " JOIN enrollment e ON e.device_id = d.id WHERE b.sim_id = :sim AND b.valid_to IS NULL"
)
_ELSEWHERE: Final = """
SELECT EXISTS (SELECT FROM sim s
    JOIN sim_binding b ON b.sim_id = s.id AND b.valid_to IS NULL JOIN device d ON d.id = b.device_id
    LEFT JOIN enrollment e ON e.device_id = d.id
    WHERE s.id = :sim AND s.imei_seen_at > now() - CAST(:recent AS interval)
        AND s.imei_seen_at > coalesce(e.last_seen_at, '-infinity') AND d.imei IS NOT NULL
        AND left(s.imei_seen, 14) <> left(d.imei, 14)
        AND NOT EXISTS (SELECT FROM device o WHERE left(o.imei, 14) = left(s.imei_seen, 14)))
"""
