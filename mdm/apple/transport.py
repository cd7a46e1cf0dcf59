"""How an iPad is woken: claims in, pushes to Apple, verdicts out. All else it is told when it asks at the door."""

from collections.abc import Sequence
from functools import lru_cache
from typing import assert_never
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


def wake(claims: Sequence[Claim]) -> list[Result]:
    """Push to each tablet; one result per claim, in order. Takes seconds at worst and raises nothing of the network."""
    settings = get_settings().apple
    if settings.push_certificate is None:
        return [Result(Verdict.BROKEN, "no push certificate is set")] * len(claims)
    try:
        client = _client(settings)
        outcomes = client.send([_push(claim) for claim in claims])
    except OSError as error:  # the certificate's files
        return [Result(Verdict.BROKEN, f"push certificate: {type(error).__name__}")] * len(claims)
    return [_verdict(outcome) for outcome in outcomes]


@lru_cache(maxsize=1)
def _client(settings: AppleSettings) -> PushClient:
    """The one client of this process: Apple asks for few, long connections."""
    assert settings.push_certificate is not None
    gateway = Gateway(url=settings.apns_url, certificate=settings.push_certificate, authorities=settings.apns_ca_file)
    return Apns2PushClient(gateway) if settings.apns_client == "apns2" else H2PushClient(gateway)


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
