"""What a carrier says of lines, into the inventory: numbers, status, radio. Asks nobody and binds no SIM to a tablet.

The carrier has the last word on what it calls a line and on where the line stands; nothing is removed because a list
leaves it out. Numbers of lines get into no log and no error from here.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import text
from sqlmodel import Session

from mdm.cellular.carriers.values import By, Capabilities, SimKey, SimRecord
from mdm.cellular.locks import hold
from mdm.cellular.models import Sim
from mdm.devices import identifiers
from mdm.errors import Invalid

T = TypeVar("T")
_NUMBERS: Final = ("imsi", "msisdn", "carrier_sim_id")


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of a page."""

    known: int = 0
    new: int = 0
    nameless: int = 0
    """Without an ICCID, and by no other name of this account's."""
    elsewhere: int = 0
    """In the inventory under another account: the line, or a number of it."""


def key_of(sim: Sim, can: Capabilities) -> SimKey:
    """Return the name by which a carrier is asked about a line of the inventory."""
    if sim.carrier_sim_id and By.CARRIER_ID in can.names:
        return SimKey(By.CARRIER_ID, sim.carrier_sim_id)
    return SimKey(By.ICCID, sim.iccid_full)


def apply(
    session: Session,
    account_id: int,
    records: Iterable[SimRecord],
    *,
    asked_at: datetime,
    listed: bool = False,
    sim_id: int | None = None,
) -> Counts:
    """Write what a carrier said at `asked_at`; older than what is known already it changes nothing.

    `listed`: by the whole list. `sim_id`: the one record is about this line and says all there is, its IMEI lock too.
    """
    hold(session)
    rows = _rows(records)
    counts = _identify(session, account_id, rows, sim_id)
    rows = [row for row in rows if "sim_id" in row]
    if not rows:
        return counts
    _clear_the_way(session, account_id, rows)
    document = {"rows": json.dumps(rows), "account": account_id, "at": asked_at, "listed": listed, "one": bool(sim_id)}
    session.execute(text(_PLANS), document)
    added = {each.iccid_core: each.id for each in session.execute(text(_NEW), document)}
    for row in rows:
        row["sim_id"] = row["sim_id"] or added[row["core"]]
    document["rows"] = json.dumps(rows)
    session.execute(text(_CHANGED), document)
    session.execute(text(_SEEN), document)
    session.execute(text(_OBSERVED), document)
    return counts


def mark_missing(session: Session, account_id: int) -> int:
    """Mark what the whole list that has just ended left out, and return how many lines that is. Nothing is removed."""
    statement = text(
        "UPDATE sim s SET missing_since = now() FROM poll_cursor p WHERE p.account_id = :account AND p.job = 'sims'"
        " AND s.account_id = p.account_id AND s.missing_since IS NULL AND s.effective_status <> 'terminated'"
        " AND s.created_at < p.started_at AND (s.listed_at IS NULL OR s.listed_at < p.started_at) RETURNING s.id"
    )
    return len(session.execute(statement, {"account": account_id}).all())


def any_listed(session: Session, account_id: int) -> bool:
    """Say whether a whole list has named lines of the account before."""
    statement = text("SELECT EXISTS (SELECT FROM sim WHERE account_id = :account AND listed_at IS NOT NULL)")
    return bool(session.execute(statement, {"account": account_id}).scalar_one())


def _rows(records: Iterable[SimRecord]) -> list[dict[str, Any]]:
    """Return records with tidied numbers; of two about one line the later counts."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        row = _row(record)
        found[("core", row["core"]) if row["core"] else (record.key.by.value, record.key.value)] = row
    for name in _NUMBERS:  # two lines of one page cannot have the same number
        taken: set[str] = set()
        for row in found.values():
            if row[name] in taken:
                row[name] = None
            elif row[name]:
                taken.add(row[name])
    return list(found.values())


def _row(record: SimRecord) -> dict[str, Any]:
    named = {record.key.by: record.key.value}
    iccid = _read(identifiers.iccid, record.iccid or named.get(By.ICCID))
    imei, lock = _read(identifiers.imei, record.imei), _read(identifiers.imei, record.imei_lock)
    return {
        "core": iccid.key if iccid else None,
        "iccid": iccid.digits if iccid else None,
        "eid": _read(identifiers.eid, record.eid),
        "imsi": _read(identifiers.imsi, record.imsi or named.get(By.IMSI)),
        "msisdn": _read(identifiers.msisdn, record.msisdn or named.get(By.MSISDN)),
        "carrier_sim_id": (record.carrier_sim_id or named.get(By.CARRIER_ID) or "")[:64] or None,
        "plan": (record.plan or "")[:64] or None,
        "status": record.status.value,
        "carrier_status": record.carrier_status[:40],
        "speed": (record.speed or "")[:32] or None,
        "imei": imei.digits if imei else None,
        "imei_key": imei.key if imei else None,
        "imei_lock": lock.digits if lock else None,
        "online": record.online,
        "roaming": record.roaming,
        "last_online_at": record.last_online_at.isoformat() if record.last_online_at else None,
        "modified_at": record.modified_at.isoformat() if record.modified_at else None,
    }


def _read(reader: Callable[[str], T], value: str | None) -> T | None:
    """Return a number as we write it; None for what is none: a carrier's odd number must not hold up a page."""
    try:
        return reader(value) if value else None
    except Invalid:
        return None


def _identify(session: Session, account_id: int, rows: list[dict[str, Any]], sim_id: int | None) -> Counts:
    """Give each row its `sim_id`, None for a new line; those of other accounts and without a name get none."""
    wanted = {name: [row[name] for row in rows if row[name]] for name in ("core", *_NUMBERS)}
    known = session.execute(
        text(
            "SELECT id, account_id, iccid_core AS core, imsi, msisdn, carrier_sim_id, effective_status AS status"
            " FROM sim WHERE iccid_core = ANY(CAST(:core AS text[])) OR imsi = ANY(CAST(:imsi AS text[]))"
            " OR msisdn = ANY(CAST(:msisdn AS text[])) OR (account_id = :account"
            "  AND carrier_sim_id = ANY(CAST(:carrier_sim_id AS text[])))"
        ),
        {"account": account_id, **wanted},
    ).all()
    own = {name: {getattr(each, name): each for each in known if each.account_id == account_id} for name in wanted}
    others = {name: {getattr(each, name): each for each in known if each.account_id != account_id} for name in wanted}
    new = nameless = elsewhere = 0
    for row in rows:
        if row["core"] in others["core"]:
            elsewhere += 1
            continue
        for name in ("imsi", "msisdn"):
            holder = others[name].get(row[name])
            if holder is not None and holder.status != "terminated":
                row[name], elsewhere = None, elsewhere + 1
        # Not by number where the ICCID is told: numbers move from card to card.
        names = ("core",) if row["core"] else ("carrier_sim_id", "imsi", "msisdn")
        found = next((own[name][row[name]] for name in names if row[name] in own[name]), None)
        if sim_id is not None or found is not None:
            row["sim_id"] = sim_id or (found.id if found else None)
        elif row["core"]:
            row["sim_id"] = None
            new += 1
        else:
            nameless += 1
    return Counts(sum(row.get("sim_id") is not None for row in rows), new, nameless, elsewhere)


def _clear_the_way(session: Session, account_id: int, rows: Sequence[Mapping[str, Any]]) -> None:
    """Take numbers from the account's other lines: the carrier has given them to these."""
    for name in _NUMBERS:
        pairs = [(row[name], row["sim_id"]) for row in rows if row[name]]
        session.execute(
            text(
                f"UPDATE sim s SET {name} = NULL, updated_at = now() FROM unnest(CAST(:values AS text[]),"
                f" CAST(:ids AS bigint[])) v (value, id) WHERE s.{name} = v.value AND s.account_id = :account"
                " AND s.id IS DISTINCT FROM v.id"
            ),
            {"account": account_id, "values": [value for value, _ in pairs], "ids": [id_ for _, id_ in pairs]},
        )


_ROWS: Final = (
    "jsonb_to_recordset(CAST(:rows AS jsonb)) AS r (sim_id bigint, core text, iccid text, eid text, imsi text,"
    " msisdn text, carrier_sim_id text, plan text, status text, carrier_status text, speed text, imei text,"
    " imei_key text, imei_lock text, online boolean, roaming boolean, last_online_at timestamptz,"
    " modified_at timestamptz)"
)
_PLANS: Final = (
    f"INSERT INTO plan (account_id, code, name) SELECT DISTINCT CAST(:account AS bigint), r.plan, r.plan FROM {_ROWS}"
    " WHERE r.plan IS NOT NULL ON CONFLICT (account_id, code) DO NOTHING"
)
_NEW: Final = (
    "INSERT INTO sim (iccid_core, iccid_full, account_id, source)"
    f" SELECT r.core, r.iccid, :account, 'carrier' FROM {_ROWS} WHERE r.sim_id IS NULL RETURNING id, iccid_core"
)
_CHANGED: Final = f"""
UPDATE sim s SET
    iccid_full = CASE WHEN length(s.iccid_full) = 18 AND length(r.iccid) > 18 THEN r.iccid ELSE s.iccid_full END,
    eid = coalesce(r.eid, s.eid), imsi = coalesce(r.imsi, s.imsi), msisdn = coalesce(r.msisdn, s.msisdn),
    carrier_sim_id = coalesce(r.carrier_sim_id, s.carrier_sim_id), plan_id = coalesce(p.id, s.plan_id),
    effective_status = r.status, carrier_status = r.carrier_status, status_seen_at = :at,
    status_changed_at = CASE WHEN s.effective_status <> r.status THEN :at ELSE s.status_changed_at END,
    effective_speed = coalesce(r.speed, s.effective_speed), imei_seen = coalesce(r.imei, s.imei_seen),
    imei_seen_at = CASE WHEN r.imei IS NULL THEN s.imei_seen_at ELSE :at END,
    imei_lock = CASE WHEN :one THEN r.imei_lock ELSE coalesce(r.imei_lock, s.imei_lock) END,
    last_online_at = greatest(s.last_online_at, r.last_online_at),
    carrier_modified_at = coalesce(r.modified_at, s.carrier_modified_at),
    updated_at = CASE WHEN s.effective_status <> r.status OR coalesce(r.imsi, s.imsi) IS DISTINCT FROM s.imsi
        OR coalesce(r.msisdn, s.msisdn) IS DISTINCT FROM s.msisdn
        OR coalesce(p.id, s.plan_id) IS DISTINCT FROM s.plan_id
        OR coalesce(r.speed, s.effective_speed) IS DISTINCT FROM s.effective_speed
        OR coalesce(r.imei, s.imei_seen) IS DISTINCT FROM s.imei_seen THEN now() ELSE s.updated_at END
FROM {_ROWS} LEFT JOIN plan p ON p.account_id = :account AND p.code = r.plan
WHERE s.id = r.sim_id AND (s.status_seen_at IS NULL OR s.status_seen_at <= :at)
"""
_SEEN: Final = f"""
UPDATE sim s SET missing_since = NULL, listed_at = CASE WHEN :listed THEN now() ELSE s.listed_at END
FROM {_ROWS} WHERE s.id = r.sim_id AND (:listed OR s.missing_since IS NOT NULL)
"""
_OBSERVED: Final = f"""
INSERT INTO sim_observation
    (observed_at, source, sim_id, device_id, iccid_core, imei_key, imsi, msisdn, roaming, online)
SELECT :at, 'carrier', r.sim_id, d.id, coalesce(r.core, s.iccid_core), r.imei_key, r.imsi, r.msisdn, r.roaming, r.online
FROM {_ROWS} JOIN sim s ON s.id = r.sim_id
LEFT JOIN (SELECT left(imei, 14) AS imei_key, min(id) AS id FROM device WHERE imei IS NOT NULL
    GROUP BY 1 HAVING count(*) = 1) d ON d.imei_key = r.imei_key
"""
