"""SORACOM Air: lines, the usage of the whole fleet, and acts. A plain module that fits `Carrier`.

After soracom/soracom-cli `generators/assets/soracom-api.en.yaml` (Auth, Sim, Stats, Files) and, for the columns of the
export, users.soracom.io/ja-jp/docs/billing/air-stats-csv and docs/air/set-status. Not verified, as no line of theirs
was at hand: how many lines /sims gives at most (100 are asked for, what comes is taken); whether the export begins
with a byte order mark (it may); the pace (no figure is published, 429 with Retry-After is obeyed); how long after an
act `status` changes (it is believed when it is read back); whether `sessionStatus` is kept while a line is offline.

The export names lines by IMSI: figures of additional subscriptions, which have IMSIs of their own, belong to no line
of the inventory. Its finest documented dates are days, and those are UTC: from 09:00 to 09:00 in Japan.
"""

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

import httpx2
from pydantic import TypeAdapter

from mdm.cellular.carriers.connection import Connection, Token
from mdm.cellular.carriers.reading import Wire, from_ms, option, read, secret
from mdm.cellular.carriers.soracom_export import usage_of
from mdm.cellular.carriers.values import (
    Act,
    By,
    Capabilities,
    Denied,
    Figures,
    Limits,
    Page,
    Receipt,
    Refused,
    SimKey,
    SimRecord,
    Unclear,
    Usage,
)
from mdm.cellular.models import ActionKind, SimStatus

_TOKEN_S: Final = 3600
_PAGE: Final = 100
_DAYS_AN_EXPORT: Final = 3
"""15,000 lines give 15,000 rows a day: what is held at once stays small."""
_WAIT_S: Final = 5.0
_LONGEST_WAIT_S: Final = 900.0
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


class _Auth(Wire):
    api_key: str
    token: str
    operator_id: str


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


class _Export(Wire):
    exported_file_id: str


class _ExportStatus(Wire):
    status: str
    url: str | None = None


_AUTH: Final = TypeAdapter(_Auth)
_SIM: Final = TypeAdapter(_Sim)
_SIMS: Final = TypeAdapter(list[_Sim])
_EXPORT: Final = TypeAdapter(_Export)
_EXPORT_STATUS: Final = TypeAdapter(_ExportStatus)


def capabilities() -> Capabilities:
    """Return what the interface can do. A line's plan is changed by the carrier's desk."""
    return Capabilities(
        figures=frozenset({Figures.DAYS}),
        acts=frozenset(_VERBS),
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
    answer = _ask(connection, "GET", "/sims", params=params)
    following = answer.headers.get("x-soracom-next-key", "")
    items = tuple(_record(sim) for sim in read(_SIMS, answer))
    return Page(items, {"key": following} if following else None, (answer.content,))


def sim(connection: Connection, key: SimKey) -> SimRecord:
    """Return one line."""
    return _record(read(_SIM, _ask(connection, "GET", f"/sims/{_sim_id(connection, key)}")))


def usage(connection: Connection, *, first: date, last: date, cursor: Mapping[str, Any] | None) -> Page[Usage]:
    """Return a few days of all lines at a time: an export is ordered, waited for, and fetched."""
    today = datetime.now(UTC).date()
    start = date.fromisoformat(cursor["from"]) if cursor else first
    end = min(start + timedelta(days=_DAYS_AN_EXPORT - 1), last, today)
    if end < start:
        return Page(())
    if not cursor or "file" not in cursor:
        ordered = {"from": start.isoformat(), "to": end.isoformat(), "file": _order(connection, start, end)}
        return Page((), ordered | {"tries": cursor.get("tries", 0) if cursor else 0}, wait_s=_WAIT_S)
    end = date.fromisoformat(cursor["to"])
    try:
        body = _exported(connection, str(cursor["file"]))
    except (Refused, _Failed):  # gone by now, or never made: order it again, less and less eagerly
        tries = int(cursor.get("tries", 0)) + 1
        return Page((), {"from": start.isoformat(), "tries": tries}, wait_s=min(_WAIT_S * 2**tries, _LONGEST_WAIT_S))
    if body is None:
        return Page((), cursor, wait_s=_WAIT_S)
    following = end + timedelta(days=1)
    more = {"from": following.isoformat()} if following <= min(last, today) else None
    return Page(usage_of(body, start, end), more, (body,))


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
    _ask(connection, "POST", f"/sims/{_sim_id(connection, act.key)}/{verb}", json=body)
    return Receipt()


def _ask(
    connection: Connection, method: str, path: str, *, params: Mapping[str, Any] | None = None, json: Any = None
) -> httpx2.Response:
    return connection.ask_signed_in(lambda: _sign_in(connection), _headers, method, path, params=params, json=json)


def _sign_in(connection: Connection) -> Token:
    key_id, key = secret(connection.secret, "authKeyId", "authKey")
    asked_at = time.monotonic()
    body = {"authKeyId": key_id, "authKey": key, "tokenTimeoutSeconds": _TOKEN_S}
    found = read(_AUTH, connection.ask("POST", "/auth", json=body))
    return Token({"key": found.api_key, "token": found.token, "operator": found.operator_id}, asked_at + _TOKEN_S)


def _headers(token: Token) -> Mapping[str, str]:
    return {"X-Soracom-API-Key": token.value["key"], "X-Soracom-Token": token.value["token"]}


def _order(connection: Connection, start: date, end: date) -> str:
    """Order an export of whole UTC days and return its id."""
    operator = option(connection.options, "operator_id") or _operator(connection)
    first = datetime(start.year, start.month, start.day, tzinfo=UTC)
    last = datetime(end.year, end.month, end.day, tzinfo=UTC)  # its whole day is counted, whichever moment is named
    body = {"from": int(first.timestamp()), "to": int(last.timestamp()), "period": "day"}
    path = f"/stats/air/operators/{quote(operator, safe='')}/export"
    return read(_EXPORT, _ask(connection, "POST", path, params={"export_mode": "async"}, json=body)).exported_file_id


def _operator(connection: Connection) -> str:
    return connection.session(lambda: _sign_in(connection)).value["operator"]


class _Failed(Exception):
    """An export that will not come."""


def _exported(connection: Connection, file: str) -> bytes | None:
    """Fetch an ordered export, or None while it is being made."""
    found = read(_EXPORT_STATUS, _ask(connection, "GET", f"/files/exported/{quote(file, safe='')}"))
    match found.status:
        case "processing":
            return None
        case "failed":
            raise _Failed
        case "exported" if found.url:
            return _download(connection, found.url)
        case _:
            raise Unclear("an export in a state that is not documented")


def _download(connection: Connection, url: str) -> bytes:
    """Fetch an export from where the carrier has put it: another host, which gets nothing of the session."""
    try:
        place = httpx2.URL(url)
    except httpx2.InvalidURL:
        raise Unclear("an export at an impossible address") from None
    own = connection.http.base_url
    if place.scheme != "https" and (place.scheme, place.host, place.port) != (own.scheme, own.host, own.port):
        raise Unclear("an export at an address without protection")
    try:
        return connection.ask("GET", url).content
    except Denied:  # its address is good for a while only; that says nothing about the account
        raise _Failed from None


def _sim_id(connection: Connection, key: SimKey) -> str:
    """Return the id that paths want, looking it up by another name where that is what is known."""
    if key.by is By.CARRIER_ID:
        return quote(key.value, safe="")
    field = {By.ICCID: "iccid", By.IMSI: "imsi", By.MSISDN: "msisdn"}[key.by]
    found = read(_SIMS, _ask(connection, "GET", "/query/sims", params={field: key.value, "limit": 10}))
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
