"""How an iPad is woken: claims in, pushes to Apple, verdicts out. All else it is told when it asks at the door."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final, assert_never
from uuid import uuid5

from mdm import vault
from mdm.apple.apns import (
    Accepted,
    Backoff,
    Broken,
    Gateway,
    NeverSent,
    Outcome,
    Push,
    PushClient,
    Rejected,
    Unknown,
)
from mdm.apple.apns_apns2 import Apns2PushClient
from mdm.apple.apns_client import H2PushClient
from mdm.devices.wakeups import Claim, Result, Verdict
from mdm.settings import AppleSettings, get_settings

_lock: Final = threading.Lock()
_clients: Final[dict[AppleSettings, PushClient]] = {}
"""The one client of this process: Apple asks for few, long connections."""


def wake(claims: Sequence[Claim]) -> list[Result]:
    """Push to each tablet; one result per claim, in order. Takes seconds at worst and raises nothing of the network."""
    settings = get_settings().apple
    if settings.push_certificate is None:
        return [Result(Verdict.BROKEN, "no push certificate is set")] * len(claims)
    outcomes = _client(settings, settings.push_certificate).send([_push(claim) for claim in claims])
    return [_verdict(outcome) for outcome in outcomes]


def close() -> None:
    """Close the connection to Apple; the next `wake` opens it again."""
    with _lock:
        clients = list(_clients.values())
        _clients.clear()
    for client in clients:
        client.close()


def _client(settings: AppleSettings, certificate: Path) -> PushClient:
    with _lock:
        if settings not in _clients:
            gateway = Gateway(url=settings.apns_url, certificate=certificate, authorities=settings.apns_ca_file)
            kind = Apns2PushClient if settings.apns_client == "apns2" else H2PushClient
            _clients[settings] = kind(gateway)
        return _clients[settings]


def _push(claim: Claim) -> Push:
    magic = vault.unseal("enrollment.push_magic", claim.push_magic).decode()
    return Push(claim.push_token, magic, claim.topic, uuid5(claim.lease, str(claim.device_id)))


def _verdict(outcome: Outcome) -> Result:
    match outcome:
        case Accepted():
            return Result(Verdict.WOKEN)
        case Rejected(reason, since):
            return Result(Verdict.DEAD if outcome.token_dead else Verdict.REFUSED, reason, dead_since=since)
        case Backoff(reason, retry_after):
            return Result(Verdict.LATER, reason, retry_after=retry_after)
        case NeverSent(reason):
            return Result(Verdict.UNSENT, reason)
        case Unknown(reason):
            return Result(Verdict.UNKNOWN, reason)
        case Broken(reason):
            return Result(Verdict.BROKEN, reason)
        case _:
            assert_never(outcome)
