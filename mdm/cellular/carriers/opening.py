"""Opens an account's line to its carrier: the secret from its file, the limits of interface and contract together.

Asks nothing. The connection is for one piece of work and is closed after it.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx2

from mdm.cellular.carriers.connection import Connection
from mdm.cellular.carriers.values import Capabilities, Denied, Limits
from mdm.cellular.models import CarrierAccount
from mdm.settings import get_settings

_LARGEST: Final = 64 * 1024


def limits_of(account: CarrierAccount, can: Capabilities) -> Limits:
    """Return how an account may be asked: as the interface wants, and where the contract says otherwise, as that."""
    known = {name: account.limits[name] for name in ("calls_per_s", "in_flight", "page") if account.limits.get(name)}
    return replace(can.limits, **known)


def described(can: Capabilities) -> dict[str, Any]:
    """Return what an interface can do as plain JSON, to be shown with its account."""
    return {
        "figures": sorted(can.figures),
        "acts": sorted(can.acts),
        "lists_changes": can.lists_changes,
        "speeds": list(can.speeds),
        "usage_keeps_days": can.usage_keeps_days,
        "calls_per_s": can.limits.calls_per_s,
        "in_flight": can.limits.in_flight,
        "page": can.limits.page,
    }


@contextmanager
def opened(account: CarrierAccount, pace: Callable[[], None]) -> Iterator[Connection]:
    """Open a connection for an account; `Denied` where its secret cannot be read, for somebody has to look at that."""
    secret = _secret(account.secret_name)
    # What an address answers with is not followed elsewhere: the secret goes to whom the account names only.
    with httpx2.Client(
        base_url=account.base_url, timeout=get_settings().carriers.timeout_s, follow_redirects=False
    ) as http:
        yield Connection(
            http=http,
            secret=secret,
            options=account.options,
            billing_tz=account.billing_tz,
            usage_tz=account.usage_tz,
            cycle_anchor_day=account.cycle_anchor_day,
            pace=pace,
        )


def _secret(name: str) -> Mapping[str, str]:
    folder = get_settings().carriers.secrets_folder
    if folder is None:
        raise Denied("no folder of secrets is set (TABANE_CARRIERS__SECRETS_FOLDER)")
    if not name:
        raise Denied("the account names no secret")
    return _read(folder / Path(name).name)


def _read(file: Path) -> Mapping[str, str]:
    """Read a secret anew each time: it is changed under our feet. Nothing of it gets into an error."""
    try:
        with file.open("rb") as stream:
            body = stream.read(_LARGEST + 1)
        found: Any = json.loads(body) if len(body) <= _LARGEST else None
    except OSError as error:
        raise Denied(f"the account's secret cannot be read: {error.strerror}") from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise Denied("the account's secret is not a JSON object of strings")
    return found
