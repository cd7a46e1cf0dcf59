"""SORACOM Air: lines, the usage of the whole fleet, and acts. A plain module that fits `Carrier`.

After soracom/soracom-cli `generators/assets/soracom-api.en.yaml` (Auth, Sim, Stats, Files) and, for the columns of the
export, users.soracom.io/ja-jp/docs/billing/air-stats-csv and docs/air/set-status. Not verified, as no line of theirs
was at hand: how many lines /sims gives at most (100 are asked for, what comes is taken); whether the export begins
with a byte order mark (it may); the pace (no figure is published, 429 with Retry-After is obeyed); how long after an
act `status` changes (it is believed when it is read back); whether `sessionStatus` is kept while a line is offline.

The export names lines by IMSI: figures of additional subscriptions, which have IMSIs of their own, belong to no line
of the inventory. Its finest documented dates are days, and those are UTC: from 09:00 to 09:00 in Japan.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

from pydantic import TypeAdapter

from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.reading import Wire, from_ms, read
from mdm.cellular.carriers.soracom_calls import ask
from mdm.cellular.carriers.soracom_usage import usage
from mdm.cellular.carriers.values import (
    Act,
    By,
    Capabilities,
    Figures,
    Limits,
    Page,
    Receipt,
    Refused,
    SimKey,
    SimRecord,
)
from mdm.cellular.models import ActionKind, SimStatus

__all__ = ["act", "capabilities", "sim", "sims", "usage"]

_PAGE: Final = 100
_STATUS: Final = {
    "shipped": SimStatus.STOCK,
    "ready": SimStatus.STOCK,
    "active": SimStatus.ACTIVE,
    "inactive": SimStatus.STANDBY,  # 休止中
    "standby": SimStatus.STANDBY,  # 利用開始待ち
    "suspended": SimStatus.SUSPENDED,  # 利用中断中
    "terminated": SimStatus.TERMINATED,
}
_VERBS: Final = {
    ActionKind.SUSPEND: "suspend",
    ActionKind.RESUME: "activate",
    ActionKind.SPEED: "update_speed_class",
    ActionKind.LOCK_IMEI: "set_imei_lock",
    ActionKind.UNLOCK_IMEI: "unset_imei_lock",
}


class _Subscriber(Wire):
    imsi: str | None = None
    msisdn: str | None = None
    subscription: str | None = None
    bundles: list[str] | None = None


class _Profile(Wire):
    iccid: str | None = None
    primary_imsi: str | None = None
    subscribers: dict[str, _Subscriber] | None = None


class _Session(Wire):
    imei: str | None = None
    online: bool | None = None
    last_updated_at: int | None = None


class _Lock(Wire):
    imei: str | None = None


class _Sim(Wire):
    sim_id: str
    status: str
    active_profile_id: str | None = None
    profiles: dict[str, _Profile] | None = None
    speed_class: str | None = None
    session_status: _Session | None = None
    imei_lock: _Lock | None = None
    last_location_update_time: int | None = None
    last_modified_time: int | None = None


_SIM: Final = TypeAdapter(_Sim)
_SIMS: Final = TypeAdapter(list[_Sim])


def capabilities() -> Capabilities:
    """Return what the interface can do. A line's plan is changed by the carrier's desk."""
    return Capabilities(
        figures=frozenset({Figures.DAYS}),
        acts=frozenset(_VERBS),
        names=frozenset(By),
        limits=Limits(calls_per_s=2, in_flight=1, page=_PAGE),
        speeds=("s1.minimum", "s1.slow", "s1.standard", "s1.fast", "s1.4xfast"),
        usage_keeps_days=540,
    )


def sims(
    connection: Connection,
    *,
    changed_since: datetime | None,  # noqa: ARG001 - the interface cannot be asked for changes only
    cursor: Mapping[str, Any] | None,
) -> Page[SimRecord]:
    """Return a page of all lines."""
    params: dict[str, Any] = {"limit": _PAGE}
    if cursor:
        params["last_evaluated_key"] = cursor["key"]
    answer = ask(connection, "GET", "/sims", params=params)
    following = answer.headers.get("x-soracom-next-key", "")
    items = tuple(_record(sim) for sim in read(_SIMS, answer))
    return Page(items, {"key": following} if following else None, (answer.content,))


def sim(connection: Connection, key: SimKey) -> SimRecord:
    """Return one line."""
    return _record(read(_SIM, ask(connection, "GET", f"/sims/{_sim_id(connection, key)}")))


def act(connection: Connection, act: Act, *, idempotency_key: str) -> Receipt:  # noqa: ARG001 - it knows none
    """Ask for an act; each sets a state, so that asking twice does no more than asking once."""
    verb = _VERBS.get(act.kind)
    if verb is None:
        raise Refused(f"this interface has no act {act.kind.value}")
    body: dict[str, str] | None = None
    if act.kind is ActionKind.SPEED:
        body = {"speedClass": act.value}
    elif act.kind is ActionKind.LOCK_IMEI:
        body = {"imei": act.value} if act.value else {}
    ask(connection, "POST", f"/sims/{_sim_id(connection, act.key)}/{verb}", json=body)
    return Receipt()


def _sim_id(connection: Connection, key: SimKey) -> str:
    """Return the id that paths want, looking it up by another name where that is what is known."""
    if key.by is By.CARRIER_ID:
        return quote(key.value, safe="")
    field = {By.ICCID: "iccid", By.IMSI: "imsi", By.MSISDN: "msisdn"}[key.by]
    found = read(_SIMS, ask(connection, "GET", "/query/sims", params={field: key.value, "limit": 10}))
    ids = {sim.sim_id for sim in found if _is(_record(sim), key)}
    if len(ids) != 1:
        raise Refused(f"{len(ids)} lines of that name")
    return quote(ids.pop(), safe="")


def _is(record: SimRecord, key: SimKey) -> bool:
    """Whether a found line is meant; the search gives lines that only contain what was asked for."""
    held = {By.ICCID: record.iccid, By.IMSI: record.imsi, By.MSISDN: record.msisdn}.get(key.by) or ""
    return held == key.value or (key.by is By.ICCID and len(key.value) >= 18 and held[:-1] == key.value)


def _record(sim: _Sim) -> SimRecord:
    profiles = sim.profiles or {}
    profile_id = sim.active_profile_id if sim.active_profile_id in profiles else next(iter(profiles), None)
    profile = profiles[profile_id] if profile_id is not None else _Profile()
    subscribers = profile.subscribers or {}
    primary = subscribers.get(profile.primary_imsi or "") or next(iter(subscribers.values()), _Subscriber())
    session = sim.session_status or _Session()
    seen = max(sim.last_location_update_time or 0, session.last_updated_at or 0 if session.online else 0)
    return SimRecord(
        key=SimKey(By.CARRIER_ID, sim.sim_id),
        status=_STATUS.get(sim.status, SimStatus.UNKNOWN),
        carrier_status=sim.status,
        iccid=profile.iccid or profile_id,
        carrier_sim_id=sim.sim_id,
        imsi=profile.primary_imsi or primary.imsi,
        msisdn=primary.msisdn or None,
        plan="/".join([primary.subscription, *(primary.bundles or [])]) if primary.subscription else None,
        speed=sim.speed_class,
        imei=session.imei or None,
        imei_lock=(sim.imei_lock.imei or "").partition("|")[0] or None if sim.imei_lock else None,
        online=session.online,
        last_online_at=from_ms(seen),
        modified_at=from_ms(sim.last_modified_time),
    )
