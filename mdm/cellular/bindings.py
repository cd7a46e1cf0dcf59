"""Which SIM is in which tablet, in time: bind, unbind, exchange, hand over, follow the ledger. Asks carriers nothing.

A tablet's ICCID in the ledger goes along with its binding. The SIM of a lost tablet stays bound to it: it is the way to
its lock and its wipe.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from mdm.audit import chain
from mdm.cellular.locks import hold
from mdm.cellular.models import BindingSource
from mdm.devices import identifiers
from mdm.errors import Conflict, Invalid, NotFound

FURTHEST_BACK: Final = timedelta(days=90)
"""How long ago a change of SIM may have been, that is only now told."""


@dataclass(frozen=True, slots=True)
class Bound:
    """One stretch of time of one SIM in one tablet; `valid_to` None: it is there now."""

    id: int
    sim_id: int
    device_id: int
    control_number: str
    valid_from: datetime
    valid_to: datetime | None
    source: BindingSource
    reason: str
    bound_by: str
    ended_by: str | None
    end_reason: str | None


@dataclass(frozen=True, slots=True)
class Word:
    """On whose word something is bound, why, and since when (None: now)."""

    actor: str
    source: BindingSource
    reason: str = ""
    since: datetime | None = None


_BOUND: Final = (
    "SELECT b.id, b.sim_id, b.device_id, d.control_number, b.valid_from, b.valid_to, b.source, b.reason, b.bound_by,"
    " b.ended_by, b.end_reason FROM sim_binding b JOIN device d ON d.id = b.device_id"
)


def of_sim(session: Session, sim_id: int) -> Bound | None:
    """Return where a SIM is now."""
    return next(iter(_bound(session, "b.sim_id = :id AND b.valid_to IS NULL", sim_id)), None)


def of_device(session: Session, device_id: int) -> Bound | None:
    """Return which SIM is in a tablet now."""
    return next(iter(_bound(session, "b.device_id = :id AND b.valid_to IS NULL", device_id)), None)


def history_of_sim(session: Session, sim_id: int) -> list[Bound]:
    """Return where a SIM has been, newest first."""
    return _bound(session, "b.sim_id = :id", sim_id)


def bind(session: Session, sim_id: int, device_id: int, word: Word) -> None:
    """Put a SIM that is nowhere into a tablet that has none; nothing to do where it is there already.

    `Conflict` where either is taken: what is to be removed is said, by `unbind`, `exchange` or `hand_over`.
    """
    hold(session, with_ledger=True)
    _must_exist(session, sims=[sim_id], devices=[device_id])
    here, there = of_device(session, device_id), of_sim(session, sim_id)
    if here is not None and here.sim_id == sim_id:
        return
    if there is not None:
        raise Conflict(f"the SIM is in tablet {there.control_number}: unbind it there first, or exchange")
    if here is not None:
        raise Conflict(f"the tablet has SIM {here.sim_id}: unbind that first, or exchange")
    write(session, [(sim_id, device_id)], word)
    chain.record(session, word.actor, "sim.bind", f"sim:{sim_id}", _details(word, device=device_id))


def unbind(session: Session, sim_id: int, word: Word) -> None:
    """Take a SIM out of its tablet. `Conflict` where it is in none."""
    hold(session, with_ledger=True)
    _must_exist(session, sims=[sim_id])
    there = of_sim(session, sim_id)
    if there is None:
        raise Conflict("the SIM is in no tablet")
    write(session, [], word, sims=[sim_id])
    chain.record(session, word.actor, "sim.unbind", f"sim:{sim_id}", _details(word, device=there.device_id))


def exchange(session: Session, device_id: int, other_id: int, word: Word) -> None:
    """Let the SIMs of two tablets change places; both have one. The one click after a swapped pair is found."""
    _change_places(session, device_id, other_id, word, both=True)


def hand_over(session: Session, device_id: int, spare_id: int, word: Word) -> None:
    """Let a spare take the SIM of the tablet that it replaces. `Conflict` where the spare has a SIM of its own."""
    _change_places(session, device_id, spare_id, word, both=False)


def follow_ledger(session: Session) -> int:
    """Bind by the ICCIDs that ledger rows hold, where they name SIMs of the inventory; return how many were bound.

    The ledger goes along with every binding, so where the two differ the ledger was changed since, by a person. An
    ICCID that was cleared there ends nothing, and one that two tablets have says nothing.
    """
    hold(session)
    wishes = _wishes_of_ledger(session)
    if not wishes:
        return 0
    write(session, wishes, Word("system:ledger", BindingSource.LEDGER, "by the ICCID in the ledger"), ledger=False)
    details = {"count": len(wishes), "sims": [sim for sim, _ in wishes][:1000]}
    chain.record(session, "system:ledger", "sim.bind_by_ledger", "sims", details)
    return len(wishes)


def write(
    session: Session,
    pairs: Sequence[tuple[int, int]],
    word: Word,
    *,
    sims: Sequence[int] = (),
    ledger: bool = True,
) -> None:
    """Bind all pairs of SIM and tablet, ending what is in the way, and take the other `sims` out of where they are.

    For whoever holds the inventory (and with `ledger` the ledger) and has asked whether it may. `Conflict` where that
    instant lies before what is there began.
    """
    at = _instant(session, word.since)
    parameters = {
        "sims": [*sims, *(sim for sim, _ in pairs)],
        "devices": [device for _, device in pairs],
        "pair_sims": [sim for sim, _ in pairs],
        "at": at,
        "by": word.actor[:80],
        "source": word.source.value,
        "reason": word.reason[:400],
    }
    try:
        with session.begin_nested():
            left = session.execute(text(_END), parameters).scalars().all()
            session.execute(text(_BEGIN), parameters)
            if ledger:
                session.execute(text(_LEDGER), {**parameters, "left": list(left)})
    except IntegrityError:
        raise Conflict("the SIM or the tablet was bound otherwise since then; give a later instant") from None


_PAIRS: Final = "unnest(CAST(:pair_sims AS bigint[]), CAST(:devices AS bigint[])) AS p (sim_id, device_id)"
_END: Final = f"""
UPDATE sim_binding b SET valid_to = :at, ended_by = :by, end_reason = :reason
WHERE b.valid_to IS NULL
    AND (b.sim_id = ANY(CAST(:sims AS bigint[])) OR b.device_id = ANY(CAST(:devices AS bigint[])))
    AND NOT EXISTS (SELECT FROM {_PAIRS} WHERE p.sim_id = b.sim_id AND p.device_id = b.device_id)
RETURNING b.device_id
"""
_BEGIN: Final = f"""
INSERT INTO sim_binding (sim_id, device_id, valid_from, source, reason, bound_by)
SELECT p.sim_id, p.device_id, :at, :source, :reason, :by FROM {_PAIRS}
WHERE NOT EXISTS (SELECT FROM sim_binding b
    WHERE b.sim_id = p.sim_id AND b.device_id = p.device_id AND b.valid_to IS NULL)
"""
_LEDGER: Final = """
UPDATE device d SET iccid = n.iccid_full, updated_at = now()
FROM (SELECT t.device_id, s.iccid_core, s.iccid_full
    FROM unnest(CAST(:left AS bigint[]) || CAST(:devices AS bigint[])) AS t (device_id)
    LEFT JOIN sim_binding b ON b.device_id = t.device_id AND b.valid_to IS NULL
    LEFT JOIN sim s ON s.id = b.sim_id) n
WHERE d.id = n.device_id AND CASE WHEN n.iccid_core IS NULL THEN d.iccid IS NOT NULL
    ELSE d.iccid IS NULL OR NOT starts_with(d.iccid, n.iccid_core) END
"""


def _change_places(session: Session, device_id: int, other_id: int, word: Word, *, both: bool) -> None:
    if device_id == other_id:
        raise Invalid("it takes two tablets")
    hold(session, with_ledger=True)
    _must_exist(session, devices=[device_id, other_id])
    mine, its = of_device(session, device_id), of_device(session, other_id)
    if mine is None:
        raise Conflict("the tablet has no SIM to give")
    if both and its is None:
        raise Conflict("the other tablet has no SIM to give")
    if not both and its is not None:
        raise Conflict(f"tablet {its.control_number} has a SIM of its own: unbind that first, or exchange")
    pairs = [(mine.sim_id, other_id)] + ([(its.sim_id, device_id)] if its is not None else [])
    write(session, pairs, word)
    details: dict[str, Any] = {"sims": [sim for sim, _ in pairs], "devices": [device_id, other_id]}
    verb = "sim.exchange" if both else "sim.hand_over"
    chain.record(session, word.actor, verb, f"device:{device_id}", details | _details(word))


def _wishes_of_ledger(session: Session) -> list[tuple[int, int]]:
    rows = session.execute(
        text(
            "SELECT d.id, d.iccid FROM device d WHERE d.iccid IS NOT NULL AND d.state NOT IN ('returned', 'retired')"
            " AND NOT EXISTS (SELECT FROM sim_binding b JOIN sim s ON s.id = b.sim_id"
            "  WHERE b.device_id = d.id AND b.valid_to IS NULL AND starts_with(d.iccid, s.iccid_core))"
        )
    ).all()
    keys: dict[str, list[int]] = {}
    for row in rows:
        keys.setdefault(identifiers.iccid_key(row.iccid), []).append(row.id)
    single = {key: devices[0] for key, devices in keys.items() if len(devices) == 1}
    known = session.execute(
        text("SELECT id, iccid_core FROM sim WHERE iccid_core = ANY(CAST(:cores AS text[])) ORDER BY id"),
        {"cores": list(single)},
    )
    return [(row.id, single[row.iccid_core]) for row in known]


def _instant(session: Session, since: datetime | None) -> datetime:
    """Return the instant of a change; taken after the lock, so that no two changes are in the wrong order."""
    now: datetime = session.execute(text("SELECT clock_timestamp()")).scalar_one()
    if since is None:
        return now
    if not now - FURTHEST_BACK <= since <= now:
        detail = f"must not lie in the future, nor more than {FURTHEST_BACK.days} days back"
        raise Invalid("the instant of a change of SIM is wrong", errors=[{"pointer": "/since", "detail": detail}])
    return since


def _must_exist(session: Session, *, sims: Sequence[int] = (), devices: Sequence[int] = ()) -> None:
    for table, ids, what in (("sim", sims, "SIM"), ("device", devices, "tablet")):
        found = session.execute(
            text(f"SELECT count(*) FROM {table} WHERE id = ANY(CAST(:ids AS bigint[]))"), {"ids": list(ids)}
        ).scalar_one()
        if found != len(set(ids)):
            raise NotFound(f"there is no such {what}")


def _bound(session: Session, which: str, key: int) -> list[Bound]:
    rows = session.execute(text(f"{_BOUND} WHERE {which} ORDER BY b.valid_from DESC, b.id DESC"), {"id": key})
    return [
        Bound(**{**row._mapping, "source": BindingSource(row.source)})  # noqa: SLF001 - SQLAlchemy's public name for it
        for row in rows
    ]


def _details(word: Word, **ids: int) -> dict[str, Any]:
    # Not the reason: people write names into it, and the trail is for ever.
    since = {} if word.since is None else {"since": word.since.isoformat()}
    return {**ids, "source": word.source.value, **since}
