"""Accounts with carriers: add, change, find. Holds the name of a secret's file, never what is in it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from mdm import clock, jobs
from mdm.audit import chain
from mdm.auth import Action, Principal
from mdm.cellular import polling
from mdm.cellular.models import CarrierAccount, CarrierKind
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.jobs import Job

_NAME: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_SECRET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_READ_ELSEWHERE: Final = frozenset({"sim_mapping", "usage_mapping"})
"""What makes a file mean something else: its version goes up with these."""
_ASKED_OTHERWISE: Final = frozenset({"base_url", "secret_name", "options", "limits", "usage_tz", "enabled"})
"""What makes the carrier be asked everything anew."""


@dataclass(frozen=True, slots=True)
class AccountLine:
    """An account as a list shows it, with the number of its lines."""

    account: CarrierAccount
    sims: int


def add(session: Session, principal: Principal, fields: Mapping[str, Any]) -> CarrierAccount:
    """Add an account. `Invalid` names the fields, `Conflict` for a name that is taken."""
    _must(principal)
    _check(fields, CarrierKind(fields["kind"]))
    account = CarrierAccount(**fields)
    session.add(account)
    try:
        session.flush()
    except IntegrityError:
        raise Conflict("there is an account of this name already") from None
    session.refresh(account)
    details = {"name": account.name, "kind": account.kind}
    chain.record(session, principal, "carrier.add", f"carrier:{account.id}", details)
    jobs.ring(session, Job.CARRIERS)
    return account


def change(session: Session, principal: Principal, name: str, fields: Mapping[str, Any]) -> CarrierAccount:
    """Change what is given of an account; its name and kind stay."""
    _must(principal)
    account = _locked(session, name)
    moved = {field: value for field, value in fields.items() if getattr(account, field) != value}
    if not moved:
        return account
    kept = {field: getattr(account, field) for field in ("name", "base_url", "secret_name", "billing_tz", "usage_tz")}
    _check({**kept, **moved}, CarrierKind(account.kind))
    for field, value in moved.items():
        setattr(account, field, value)
    if moved.keys() & _READ_ELSEWHERE:
        account.mapping_version += 1
    account.updated_at = clock.now()
    session.add(account)
    session.flush()
    if moved.keys() & _ASKED_OTHERWISE:
        polling.begin_anew(session, account.id or 0)
    # Which, not what: options and mappings may hold anything.
    chain.record(session, principal, "carrier.change", f"carrier:{account.id}", {"fields": sorted(moved)})
    return account


def remember_mapping(session: Session, account: CarrierAccount, mapping: Mapping[str, str]) -> None:
    """Keep what the headers of an account's SIM files mean, for the next of them."""
    if account.sim_mapping != dict(mapping):
        account.sim_mapping = dict(mapping)
        _raise_version(session, account)


def remember_usage_mapping(session: Session, account: CarrierAccount, mapping: Mapping[str, Any]) -> None:
    """Keep how an account's files of usage are read, for the next of them."""
    if account.usage_mapping != dict(mapping):
        account.usage_mapping = dict(mapping)
        _raise_version(session, account)


def _raise_version(session: Session, account: CarrierAccount) -> None:
    account.mapping_version += 1
    account.updated_at = clock.now()
    session.add(account)
    session.flush()


def find(session: Session, name: str) -> CarrierAccount:
    """Return an account by its name."""
    account = session.exec(select(CarrierAccount).where(CarrierAccount.name == name)).first()
    if account is None:
        raise NotFound("there is no such carrier account")
    return account


def every(session: Session) -> list[AccountLine]:
    """Return all accounts by name; there are a handful."""
    counts: dict[int, int] = {
        row.account_id: row.sims
        for row in session.execute(text("SELECT account_id, count(*) AS sims FROM sim GROUP BY account_id"))
    }
    accounts = session.exec(select(CarrierAccount).order_by(col(CarrierAccount.name))).all()
    return [AccountLine(account, counts.get(account.id or 0, 0)) for account in accounts]


def must_be_everywhere(principal: Principal) -> None:
    """Refuse whoever is confined to some schools: lines and their files belong to the whole district."""
    if not principal.scope.all_schools:
        raise Forbidden("this is everybody's: it takes an operator of all schools")


def _must(principal: Principal) -> None:
    principal.must(Action.MANAGE_CARRIERS)
    must_be_everywhere(principal)


def _locked(session: Session, name: str) -> CarrierAccount:
    account = session.exec(select(CarrierAccount).where(CarrierAccount.name == name).with_for_update()).first()
    if account is None:
        raise NotFound("there is no such carrier account")
    return account


def _check(fields: Mapping[str, Any], kind: CarrierKind) -> None:
    wrong = {
        "name": _name_fault(fields["name"]),
        "base_url": _address_fault(fields.get("base_url", ""), kind),
        "secret_name": _secret_fault(fields.get("secret_name", "")),
        "billing_tz": _zone_fault(fields.get("billing_tz", "UTC")),
        "usage_tz": _zone_fault(fields.get("usage_tz", "UTC")),
    }
    errors = [{"pointer": f"/{field}", "detail": fault} for field, fault in wrong.items() if fault]
    if errors:
        raise Invalid("the account is wrong; see errors", errors=errors)


def _name_fault(name: str) -> str | None:
    return None if _NAME.fullmatch(name) else "must be lower-case letters a-z, digits and hyphens"


def _address_fault(address: str, kind: CarrierKind) -> str | None:
    if kind is CarrierKind.CSV:
        return "an account of files has no address" if address else None
    parts = urlsplit(address)
    if parts.username or parts.password or parts.query or parts.fragment:
        return "must be an address only: what is secret goes into the file that secret_name names"
    if parts.scheme == "https" and parts.hostname:
        return None
    # Secrets go over this line: in clear only to this very machine, where the demo's carriers are.
    if parts.scheme == "http" and parts.hostname in _LOOPBACK:
        return None
    return "must begin with https://"


def _secret_fault(name: str) -> str | None:
    if not name or _SECRET.fullmatch(name):
        return None
    return "must be the name of a file in the folder of secrets: letters, digits, dots, hyphens, underscores; no path"


def _zone_fault(zone: str) -> str | None:
    try:
        datetime.now(UTC).astimezone(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return "is no time zone, such as Asia/Tokyo or UTC"
    return None
