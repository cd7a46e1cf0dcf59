"""What tablets say of the SIMs in them, taken from their latest inventory and kept as observations.

The exchange with tablets knows nothing of this: it keeps the answer (`device_report`), a job reads it afterwards. An
observation is written when it differs from the one before, or once a day. No cell and no place is in it, and no name.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import orjson
from sqlalchemy import text
from sqlmodel import Session

from mdm import clock
from mdm.cellular import rounds
from mdm.commands.kinds import Kind
from mdm.devices import identifiers
from mdm.errors import Invalid

AT_ONCE: Final = 1000
SAME_FOR: Final = timedelta(days=1)
"""What does not change is written again after so long."""
_SETTLED: Final = timedelta(seconds=10)
"""An answer may be committed a little later than its own moment says; younger ones wait for the next time."""
_OLDEST: Final = timedelta(days=2)
"""The first round begins so long ago."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One place for a SIM in a tablet, as the tablet tells it."""

    core: str | None
    """The ICCID without its check digit; None: empty, or no ICCID that could be read."""
    radio: str | None
    """The first 14 digits of the IMEI."""
    roaming: bool | None

    def __repr__(self) -> str:
        """Leave every number out."""
        return f"Slot({'taken' if self.core else 'empty'})"


def slots(subscriptions: Any) -> frozenset[Slot]:
    """Read the `subscriptions` of a tablet's answer; what is not as it should be is passed over."""
    if not isinstance(subscriptions, list):
        return frozenset()
    return frozenset(_slot(each) for each in subscriptions if isinstance(each, dict))


def take(session: Session, *, limit: int = AT_ONCE) -> int | None:
    """Read the oldest answers that were not read yet, and return how many; None while another worker does.

    Calls for a reconciliation.
    """
    mine = rounds.take(session, rounds.TABLETS)
    if mine is None:
        return None
    since = mine.through or clock.now() - _OLDEST
    parameters = {"kind": Kind.INVENTORY_DEVICE.value, "since": since, "until": clock.now() - _SETTLED, "limit": limit}
    reports = session.execute(text(_REPORTS), parameters).all()
    if not reports:
        return 0
    told = {row.device_id: (row.received_at, slots(row.subscriptions)) for row in reports}
    before = _latest(session, told)
    changed = [device for device, (_, said) in told.items() if said and before.get(device, (None, None))[1] != said]
    stale = [device for device, (at, _) in told.items() if device in before and at - before[device][0] >= SAME_FOR]
    _write(session, {device: told[device] for device in {*changed, *stale}})
    rounds.read_through(session, rounds.TABLETS, max(row.received_at for row in reports))
    # Even what was said before is news: it may be the second observation of what was only suspected.
    rounds.tell(session, rounds.RECONCILIATION, clock.now())
    return len(reports)


def _slot(entry: Mapping[str, Any]) -> Slot:
    radio, roaming = entry.get("imei"), entry.get("roaming")
    known = isinstance(radio, str) and len(radio) >= 14
    return Slot(
        _core(entry.get("iccid")),
        identifiers.imei_key(radio) if isinstance(radio, str) and known else None,
        roaming if isinstance(roaming, bool) else None,
    )


def _core(iccid: Any) -> str | None:
    try:
        return identifiers.iccid(iccid).key if isinstance(iccid, str) else None
    except Invalid:
        return None


def _latest(session: Session, devices: Iterable[int]) -> dict[int, tuple[datetime, frozenset[Slot]]]:
    """Return what these tablets last were observed to hold, and when."""
    found: dict[int, tuple[datetime, set[Slot]]] = {}
    for row in session.execute(text(_LATEST), {"devices": list(devices)}):
        found.setdefault(row.device_id, (row.observed_at, set()))[1].add(Slot(row.core, row.radio, row.roaming))
    return {device: (at, frozenset(held)) for device, (at, held) in found.items()}


def _write(session: Session, told: Mapping[int, tuple[datetime, frozenset[Slot]]]) -> None:
    rows: Sequence[dict[str, Any]] = [
        {"device_id": device, "at": at, "core": slot.core, "radio": slot.radio, "roaming": slot.roaming}
        for device, (at, held) in sorted(told.items())
        for slot in held
    ]
    if rows:
        session.execute(text(_WRITE), {"rows": orjson.dumps(rows).decode()})


_REPORTS: Final = """
SELECT device_id, received_at, body -> 'subscriptions' AS subscriptions FROM device_report
WHERE kind = :kind AND received_at > :since AND received_at <= :until
ORDER BY received_at FETCH FIRST (:limit) ROWS WITH TIES
"""
_LATEST: Final = """
SELECT o.device_id, o.observed_at, o.iccid_core AS core, o.imei_key AS radio, o.roaming
FROM unnest(CAST(:devices AS bigint[])) AS d (id)
CROSS JOIN LATERAL (SELECT x.observed_at FROM sim_observation x WHERE x.device_id = d.id AND x.source = 'device'
    ORDER BY x.observed_at DESC LIMIT 1) m
JOIN sim_observation o ON o.device_id = d.id AND o.observed_at = m.observed_at AND o.source = 'device'
"""
_WRITE: Final = """
INSERT INTO sim_observation (observed_at, source, sim_id, device_id, iccid_core, imei_key, roaming)
SELECT r.at, 'device', s.id, r.device_id, r.core, r.radio, r.roaming
FROM jsonb_to_recordset(CAST(:rows AS jsonb)) AS r
    (device_id bigint, at timestamptz, core text, radio text, roaming boolean)
LEFT JOIN sim s ON s.iccid_core = r.core
"""
