"""The contract of a transport's `wake`, run for every platform against the simulated push services."""

import os
from uuid import uuid4

import pytest

from mdm import settings, vault
from mdm.apple import transport as apple
from mdm.devices.models import Lane
from mdm.devices.wakeups import Claim, Result, Verdict
from mdm.errors import Conflict
from mdm.platform import Platform
from mdm.transports import WAKEABLE, transport_of
from simulator.clouds.apns import ApnsCloud, serving
from simulator.clouds.apns_script import Answer
from simulator.clouds.pki import make_push_pki


@pytest.fixture(params=WAKEABLE)
def platform(request):
    return request.param


@pytest.fixture
def service(platform, database, tmp_path, monkeypatch):
    """The platform's push service, and this process's settings pointed at it."""
    match platform:
        case Platform.APPLE:
            pki = make_push_pki(tmp_path)
            both = tmp_path / "both.pem"
            both.write_text(pki.push_certificate.read_text() + pki.push_key.read_text())
            with serving(ApnsCloud(pki)) as cloud:
                monkeypatch.setenv("TABANE_APPLE__APNS_URL", cloud.url)
                monkeypatch.setenv("TABANE_APPLE__APNS_CA_FILE", str(pki.authority))
                monkeypatch.setenv("TABANE_APPLE__PUSH_CERTIFICATE", str(both))
                settings.get_settings.cache_clear()
                cloud.topic = pki.topic
                yield cloud
                apple.close()


@pytest.fixture
def claims(platform, service):
    """Five leased wake-ups."""
    lease = uuid4()
    return [
        Claim(
            device_id=number,
            school_id=1,
            platform=platform,
            lane=Lane.NORMAL,
            generation=1,
            attempts=0,
            lease=lease,
            payload_bytes=0,
            topic=service.topic,
            push_token=os.urandom(32),
            push_magic=vault.seal("enrollment.push_magic", f"planted-{number}".encode()),
        )
        for number in range(5)
    ]


def test_every_claim_has_its_own_result_in_order(platform, service, claims):
    """One push each, and the result stands at the claim's own place."""
    service.script.answer(claims[1].push_token, Answer(410, "Unregistered", timestamp=1_790_000_000_000))
    service.script.answer(claims[2].push_token, Answer(429, "TooManyRequests", retry_after=9))
    service.script.answer(claims[3].push_token, Answer(400, "PayloadTooLarge"))
    results = transport_of(platform).wake(claims)
    assert [result.verdict for result in results] == [
        Verdict.WOKEN,
        Verdict.DEAD,
        Verdict.LATER,
        Verdict.REFUSED,
        Verdict.WOKEN,
    ]
    assert results[1].dead_since is not None
    assert results[2].retry_after == 9
    assert [entry.token for entry in service.journal if entry.delivered] == [
        claims[0].push_token.hex(),
        claims[4].push_token.hex(),
    ]


def test_attempts_have_ids_of_their_own(platform, service, claims):
    """A second attempt under another lease cannot be mistaken for the first."""
    transport_of(platform).wake(claims)
    ids = [entry.apns_id for entry in service.journal]
    assert len(set(ids)) == len(claims)


def test_nothing_to_wake(platform, service):
    """No claims, no results, no connection."""
    assert transport_of(platform).wake([]) == []
    assert service.connections_made == 0


def test_a_service_that_is_gone_is_a_result(platform, service, claims, monkeypatch):
    """Network trouble raises nothing: every claim is unsent."""
    monkeypatch.setenv("TABANE_APPLE__APNS_URL", "https://127.0.0.1:9")
    settings.get_settings.cache_clear()
    results = transport_of(platform).wake(claims)
    assert {result.verdict for result in results} == {Verdict.UNSENT}


def test_a_missing_certificate_is_a_result(platform, service, claims, monkeypatch, tmp_path):
    """A file that is not there, or not set, meets every push alike."""
    monkeypatch.setenv("TABANE_APPLE__PUSH_CERTIFICATE", str(tmp_path / "absent.pem"))
    settings.get_settings.cache_clear()
    assert {result.verdict for result in transport_of(platform).wake(claims)} == {Verdict.BROKEN}
    monkeypatch.delenv("TABANE_APPLE__PUSH_CERTIFICATE")
    settings.get_settings.cache_clear()
    assert transport_of(platform).wake(claims) == [Result(Verdict.BROKEN, "no push certificate is set")] * 5


def test_only_the_platforms_with_a_transport_say_that_they_have_one():
    """A platform is either woken or refused by name; none is silently skipped."""
    for platform in Platform:
        if platform in WAKEABLE:
            assert callable(transport_of(platform).wake)
        else:
            with pytest.raises(Conflict, match="cannot be woken yet"):
                transport_of(platform)


def test_a_claim_hides_its_secrets(claims):
    """Neither token nor sealed magic shows in a repr."""
    text = repr(claims)
    assert "push_token" not in text
    assert "push_magic" not in text
