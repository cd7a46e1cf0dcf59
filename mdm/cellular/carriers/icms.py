"""NTT Communications IoT Connect Mobile Type S (ICMS): lines and monthly usage by SIM group. Fits `Carrier`.

After sdpf.ntt.com/services/docs/icms/api-references/gui (monthlyUsage) and docs/about-sss/…/First_Step (Keystone). An
account's options name `tenant_id`, `sim_groups` and `keystone_url`; its secret has `api_key` and `api_secret`.

What its stored pages do not show is not spoken, and not among the capabilities: a line's status (it stays unknown),
suspending, resuming, and the change of a plan. Not verified, as no contract was at hand: Keystone's address (hence an
option); that a session lasts as long as its answer says; the unit of `usage` (bytes are assumed, the option
`usage_unit_bytes` says otherwise: the limits of its plans are in KB); how late figures are. Compare a month with its
bill before it is trusted.
"""

import time
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import quote
from zoneinfo import ZoneInfo

from pydantic import Field, TypeAdapter

from mdm.cellular import cycles
from mdm.cellular.carriers.connection import Connection, Token
from mdm.cellular.carriers.reading import Wire, option, options, read, secret
from mdm.cellular.carriers.values import (
    Act,
    By,
    Capabilities,
    CycleToDate,
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
from mdm.cellular.models import SimStatus

_PAGE: Final = 1000
_JAPAN: Final = "Asia/Tokyo"


class _Profile(Wire):
    iccid: str
    imsi: str | None = None
    msisdn: str | None = None
    usage: int | None = Field(default=None, ge=0)


class _OfMonth(Wire):
    profiles: list[_Profile]


class _Sim(Wire):
    hsn: str
    eid: str | None = None
    monthly_profile_usage: _OfMonth


class _Sims(Wire):
    sims: list[_Sim]


class _Token(Wire):
    expires_at: datetime = Field(alias="expires_at")


class _Signed(Wire):
    token: _Token


_SIMS: Final = TypeAdapter(_Sims)
_SIGNED: Final = TypeAdapter(_Signed)


def capabilities() -> Capabilities:
    """Return what the interface can do, as far as its pages say."""
    return Capabilities(
        figures=frozenset({Figures.CYCLE_TO_DATE}),
        acts=frozenset(),
        limits=Limits(calls_per_s=1, in_flight=1, page=_PAGE),
    )


def sims(
    connection: Connection,
    *,
    changed_since: datetime | None,  # noqa: ARG001 - the interface cannot be asked for changes only
    cursor: Mapping[str, Any] | None,
) -> Page[SimRecord]:
    """Return a page of all lines, from this month's table of usage: it names each with its numbers."""
    group, offset = (int(cursor["group"]), int(cursor["offset"])) if cursor else (0, 0)
    month = datetime.now(ZoneInfo(_JAPAN)).date()
    found, body, is_last = _table(connection, group, month, offset=offset)
    more = _further(connection, group, offset, is_last=is_last)
    records = {profile.iccid: _record(sim, profile) for sim in found for profile in sim.monthly_profile_usage.profiles}
    return Page(tuple(records.values()), more, (body,))


def sim(connection: Connection, key: SimKey) -> SimRecord:
    """Return one line, found in its group by its ICCID."""
    if key.by is not By.ICCID:
        raise Refused("this interface finds lines by their ICCID")
    month = datetime.now(ZoneInfo(_JAPAN)).date()
    for group in range(len(_groups(connection))):
        found, _, _ = _table(connection, group, month, iccid=key.value)
        for one in found:
            for profile in one.monthly_profile_usage.profiles:
                if key.value in (profile.iccid, profile.iccid[:-1]):
                    return _record(one, profile)
    raise Refused("no line of that name in the account's groups")


def usage(connection: Connection, *, first: date, last: date, cursor: Mapping[str, Any] | None) -> Page[Usage]:
    """Return a page of what lines used in each month that the days touch, until now."""
    month = cycles.of_day(date.fromisoformat(cursor["month"]) if cursor else first, 1)
    group, offset = (int(cursor["group"]), int(cursor["offset"])) if cursor else (0, 0)
    asked_at = datetime.now(UTC)
    today = asked_at.astimezone(ZoneInfo(_JAPAN)).date()
    if month.start > today:
        return Page(())
    unit = _unit(connection)
    found, body, is_last = _table(connection, group, month.start, offset=offset)
    figures = {
        profile.iccid: profile.usage * unit
        for sim in found
        for profile in sim.monthly_profile_usage.profiles
        if profile.usage is not None
    }
    items = tuple(
        CycleToDate(SimKey(By.ICCID, iccid), month.start, asked_at, total, final=month.end <= today)
        for iccid, total in figures.items()
    )
    more = _further(connection, group, offset, is_last=is_last)
    if more is not None:
        return Page(items, {"month": month.start.isoformat(), **more}, (body,))
    following = {"month": month.end.isoformat(), "group": 0, "offset": 0} if month.end <= min(last, today) else None
    return Page(items, following, (body,))


def act(connection: Connection, act: Act, *, idempotency_key: str) -> Receipt:  # noqa: ARG001 - it has none to ask for
    """Refuse every act: none is documented."""
    raise Refused(f"this interface has no act {act.kind.value}")


def _table(
    connection: Connection, group: int, month: date, *, offset: int = 0, iccid: str | None = None
) -> tuple[list[_Sim], bytes, bool]:
    """Return a page of a group's month, its bytes, and whether it is the last: one that is not full."""
    tenant, name = option(connection.options, "tenant_id"), _groups(connection)[group]
    params: dict[str, Any] = {"date": f"{month:%Y-%m}", "limit": _PAGE, "offset": offset}
    if iccid is not None:
        params["iccid"] = iccid
    path = f"/tenants/{quote(tenant, safe='')}/gui/simGroups/{quote(name, safe='')}/monthlyUsage"
    answer = connection.ask_signed_in(
        lambda: _sign_in(connection), lambda token: {"X-Auth-Token": token.value["token"]}, "GET", path, params=params
    )
    found = read(_SIMS, answer).sims
    return found, answer.content, sum(len(sim.monthly_profile_usage.profiles) for sim in found) < _PAGE


def _further(connection: Connection, group: int, offset: int, *, is_last: bool) -> dict[str, int] | None:
    if not is_last:
        return {"group": group, "offset": offset + _PAGE}
    return {"group": group + 1, "offset": 0} if group + 1 < len(_groups(connection)) else None


def _groups(connection: Connection) -> list[str]:
    groups = options(connection.options, "sim_groups")
    if not groups or not option(connection.options, "tenant_id"):
        raise Refused("the account's options lack tenant_id or sim_groups")
    return groups


def _unit(connection: Connection) -> int:
    """Return how many bytes one of its figures' units has."""
    try:
        unit = int(connection.options.get("usage_unit_bytes", 1))
    except (TypeError, ValueError):
        unit = 0
    if unit < 1:
        raise Refused("the account's option usage_unit_bytes is not a whole number")
    return unit


def _sign_in(connection: Connection) -> Token:
    """Get a token from Keystone, as OpenStack's version 3 does it."""
    key, key_secret = secret(connection.secret, "api_key", "api_secret")
    keystone = option(connection.options, "keystone_url").rstrip("/")
    if not keystone or not connection.may_show_secrets_to(keystone):
        raise Refused("the account's option keystone_url is missing, or not https")
    user = {"domain": {"id": "default"}, "name": key, "password": key_secret}
    scope = {"project": {"id": option(connection.options, "tenant_id")}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    asked_at = time.monotonic()
    answer = connection.ask("POST", f"{keystone}/v3/auth/tokens", json=body)
    token = answer.headers.get("X-Subject-Token", "")
    if not token:
        raise Unclear("a session without a token")
    expires = read(_SIGNED, answer).token.expires_at
    life = (expires.astimezone(UTC) - datetime.now(UTC)).total_seconds()
    return Token({"token": token}, asked_at + life)


def _record(sim: _Sim, profile: _Profile) -> SimRecord:
    return SimRecord(
        key=SimKey(By.ICCID, profile.iccid),
        status=SimStatus.UNKNOWN,
        carrier_status="",
        iccid=profile.iccid,
        carrier_sim_id=sim.hsn,
        eid=sim.eid or None,
        imsi=profile.imsi or None,
        msisdn=profile.msisdn or None,
    )
