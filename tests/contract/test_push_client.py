"""The contract of a push client, run over our own and over the one on `apns2`, against the simulated push service."""

import os
import socket
import ssl
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from mdm.apple.apns import Accepted, Backoff, Broken, Gateway, NeverSent, Push, Rejected, Unknown
from mdm.apple.apns_apns2 import Apns2PushClient
from mdm.apple.apns_client import H2PushClient
from simulator.clouds.apns import ApnsCloud, serving
from simulator.clouds.apns_script import Answer, Fault, Mishap, Script
from simulator.clouds.pki import make_push_pki

OUTCOMES = (Accepted, Rejected, NeverSent, Unknown, Backoff, Broken)
CLIENTS = {"h2": H2PushClient, "apns2": Apns2PushClient}

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_push_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def other_pki(tmp_path_factory):
    return make_push_pki(tmp_path_factory.mktemp("other"))


@pytest.fixture
def cloud(pki):
    with serving(ApnsCloud(pki)) as running:
        yield running


@pytest.fixture(params=list(CLIENTS))
def kind(request):
    return request.param


@pytest.fixture
def make_client(kind, pki):
    made = []

    def make(url, **changes):
        gateway = Gateway(url, pki.push_certificate, pki.push_key, pki.authority, **changes)
        made.append(CLIENTS[kind](gateway))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def client(make_client, cloud):
    return make_client(cloud.url)


@pytest.fixture
def own_only(kind, request):
    if kind == "apns2":
        reason = getattr(request, "param", "the library cannot")
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))


def pushes(pki, count):
    return [Push(os.urandom(32), f"magic-{number}", pki.topic, uuid4()) for number in range(count)]


def send_until_settled(client, batch, rounds=6):
    """What the dispatcher does: resend all that is neither accepted nor rejected. Returns what never settled."""
    waiting = list(batch)
    for _ in range(rounds):
        outcomes = client.send(waiting)
        assert len(outcomes) == len(waiting)
        assert all(isinstance(outcome, OUTCOMES) for outcome in outcomes)
        waiting = [p for p, o in zip(waiting, outcomes, strict=True) if not isinstance(o, Accepted | Rejected)]
        if not waiting:
            break
    return waiting


def test_every_push_is_accepted_once(client, cloud, pki):
    """In good health each push is accepted and the vendor saw it once."""
    batch = pushes(pki, 200)
    assert client.send(batch) == [Accepted()] * 200
    assert cloud.deliveries() == {push.token.hex(): 1 for push in batch}
    assert cloud.connections_made == 1


@pytest.mark.parametrize("own_only", ["the library has no way to set apns-id"], indirect=True)
def test_the_attempt_id_travels_as_apns_id(client, cloud, pki, own_only):
    """The id of the attempt is the apns-id the vendor journals."""
    batch = pushes(pki, 3)
    client.send(batch)
    assert {entry.apns_id for entry in cloud.journal} == {str(push.apns_id) for push in batch}


def test_nothing_to_send_opens_no_connection(client, cloud):
    """An empty batch costs nothing."""
    assert client.send([]) == []
    assert cloud.connections_made == 0


def test_the_connection_is_kept_between_batches(client, cloud, pki):
    """Apple asks for few, long connections."""
    for _ in range(3):
        client.send(pushes(pki, 5))
    assert cloud.connections_made == 1


def test_an_unregistered_token_is_rejected_with_its_time(client, cloud, pki):
    """410 carries the moment the token died, and the rest of the batch is untouched."""
    batch = pushes(pki, 20)
    died = datetime(2026, 11, 1, 8, 30, tzinfo=UTC)
    cloud.script.answer(batch[7].token, Answer(410, "Unregistered", timestamp=int(died.timestamp() * 1000)))
    outcomes = client.send(batch)
    assert outcomes[7] == Rejected("Unregistered", died)
    assert outcomes[7].token_dead
    assert outcomes.count(Accepted()) == 19


def test_a_bad_token_is_rejected(client, cloud, pki):
    """The vendor's own check refuses a token of another length."""
    outcome = client.send([Push(b"\x01\x02", "magic", pki.topic, uuid4())])
    assert outcome == [Rejected("BadDeviceToken")]
    assert outcome[0].token_dead


def test_another_topic_is_broken(client, pki):
    """A topic that is not the certificate's meets every push alike."""
    assert client.send([Push(os.urandom(32), "magic", pki.topic + "0", uuid4())]) == [Broken("TopicDisallowed")]


def test_a_refused_certificate_is_broken(client, cloud, pki):
    """403 stops everything."""
    cloud.script.everyone = Answer(403, "BadCertificate")
    assert client.send(pushes(pki, 5)) == [Broken("BadCertificate")] * 5


@pytest.mark.parametrize("content", [None, "not a certificate"])
def test_a_certificate_that_cannot_be_read_is_broken(kind, cloud, tmp_path, content):
    """A missing or damaged file meets every push alike, and nothing leaves."""
    file = tmp_path / "push.pem"
    if content is not None:
        file.write_text(content)
    outcomes = CLIENTS[kind](Gateway(cloud.url, file)).send([Push(b"\x01" * 32, "magic", "topic", uuid4())] * 3)
    assert {type(outcome) for outcome in outcomes} == {Broken}
    assert cloud.connections_made == 0


@pytest.mark.parametrize("own_only", ["the library hides Retry-After"], indirect=True)
def test_retry_after_is_reported(client, cloud, pki, own_only):
    """429 with Retry-After tells the dispatcher how long."""
    cloud.script.everyone = Answer(429, "TooManyRequests", retry_after=7)
    assert client.send(pushes(pki, 1)) == [Backoff("TooManyRequests", 7.0)]


@pytest.mark.parametrize(("status", "reason"), [(429, "TooManyRequests"), (503, "ServiceUnavailable")])
def test_a_busy_service_asks_for_backoff(client, cloud, pki, status, reason):
    """429 and 503 are neither accepted nor lost, and pass when the service recovers."""
    batch = pushes(pki, 30)
    for push in batch[:10]:
        cloud.script.answer(push.token, Answer(status, reason), times=1)
    outcomes = client.send(batch)
    assert {(type(o), o.reason) for o in outcomes[:10]} == {(Backoff, reason)}
    assert outcomes[10:] == [Accepted()] * 20
    assert client.send(batch[:10]) == [Accepted()] * 10


FAULTS = [
    Fault(Mishap.RESET, every=7, times=40),
    Fault(Mishap.REFUSE, every=5, times=40),
    Fault(Mishap.GOAWAY, every=150, times=1),
    Fault(Mishap.GOAWAY_ABRUPT, every=150, times=1),
    Fault(Mishap.CUT, every=150, times=1),
]


@pytest.mark.parametrize("latency", [0.0, 0.03], ids=["prompt", "slow"])
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.mishap.value)
def test_with_resending_none_is_missed_and_none_gets_two_extra(client, cloud, pki, fault, latency):
    """Whatever befalls the connection, each push has one outcome, each token is woken, and at most once too often."""
    cloud.script.latency = latency
    cloud.script.faults = [Fault(fault.mishap, fault.every, fault.times)]
    batch = pushes(pki, 400)
    assert send_until_settled(client, batch) == []
    assert cloud.script.faults[0].times < fault.times, "the fault never struck"
    counts = cloud.deliveries()
    assert {push.token.hex() for push in batch} == set(counts)
    assert max(counts.values()) <= 2


@pytest.mark.parametrize(
    "own_only",
    ["at GOAWAY the library drops the answers still owed: some tablets are woken up to 4 times"],
    indirect=True,
)
def test_a_graceful_goaway_wakes_nobody_twice(client, cloud, pki, own_only):
    """Streams up to the last id are answered, those above it were never acted on: all accepted, none twice."""
    cloud.script.latency = 0.02
    cloud.script.faults = [Fault(Mishap.GOAWAY, every=100, times=3)]
    batch = pushes(pki, 400)
    assert client.send(batch) == [Accepted()] * 400
    assert set(cloud.deliveries().values()) == {1}
    assert cloud.connections_made == 4


@pytest.mark.parametrize("own_only", ["the library does not tell REFUSED_STREAM from other resets"], indirect=True)
def test_a_refused_stream_is_sent_again_at_once(client, cloud, pki, own_only):
    """REFUSED_STREAM means not acted on: one more try on the spot."""
    cloud.script.faults = [Fault(Mishap.REFUSE, every=10, times=10)]
    assert client.send(pushes(pki, 200)) == [Accepted()] * 200
    assert set(cloud.deliveries().values()) == {1}


def test_a_reset_stream_leaves_the_others_alone(client, cloud, pki):
    """RST_STREAM of one push is Unknown for that push only, on the same connection."""
    cloud.script.faults = [Fault(Mishap.RESET, every=50, times=4)]
    kinds = Counter(type(outcome) for outcome in client.send(pushes(pki, 200)))
    assert kinds == {Unknown: 4, Accepted: 196}
    assert cloud.connections_made == 1


def test_low_concurrency_is_honoured(make_client, pki):
    """1,000 pushes go through three streams; a client that opens a fourth is disconnected by the service."""
    with serving(ApnsCloud(pki, script=Script(max_concurrent_streams=3))) as cloud:
        assert make_client(cloud.url).send(pushes(pki, 1000)) == [Accepted()] * 1000
        assert cloud.connections_made == 1


def test_a_change_of_concurrency_is_honoured(client, cloud, pki):
    """The limit may fall and rise while pushes are under way."""
    cloud.script.latency = 0.005
    limits = [50, 5, 200]

    def change():
        for limit in limits:
            time.sleep(0.05)
            cloud.set_max_concurrent_streams(limit)

    changer = threading.Thread(target=change)
    changer.start()
    batch = pushes(pki, 600)
    assert send_until_settled(client, batch) == []
    changer.join()
    assert max(cloud.deliveries().values()) <= 2


def test_slow_answers_do_not_queue_behind_each_other(client, cloud, pki):
    """300 answers of 200 ms each overlap."""
    cloud.script.latency = 0.2
    started = time.monotonic()
    assert client.send(pushes(pki, 300)) == [Accepted()] * 300
    assert time.monotonic() - started < 5


def test_a_mute_service_is_given_up_in_time(make_client, cloud, pki):
    """No answer is Unknown within the time limit, and the next batch finds a working line."""
    client = make_client(cloud.url, stream_timeout=0.5, queue_timeout=1.0)
    cloud.script.mute = True
    started = time.monotonic()
    assert {type(outcome) for outcome in client.send(pushes(pki, 20))} == {Unknown}
    assert time.monotonic() - started < 5
    cloud.script.mute = False
    assert send_until_settled(client, pushes(pki, 20)) == []


def test_nobody_listens(make_client, pki):
    """A refused connection means never sent, promptly."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    outcomes = make_client(f"https://127.0.0.1:{port}").send(pushes(pki, 5))
    assert {type(outcome) for outcome in outcomes} == {NeverSent}


def test_a_service_with_another_certificate_gets_nothing(kind, cloud, pki, other_pki):
    """The service's certificate is verified before a token leaves."""
    client = CLIENTS[kind](Gateway(cloud.url, pki.push_certificate, pki.push_key, other_pki.authority))
    assert {type(outcome) for outcome in client.send(pushes(pki, 5))} == {NeverSent}
    assert cloud.journal == []


@pytest.mark.parametrize("own_only", ["the TLS alert comes after the library believes it is connected"], indirect=True)
def test_a_tls_alert_about_our_certificate_is_broken(make_client, pki, other_pki, own_only):
    """A push service that refuses our certificate in the handshake stops everything, as a 403 does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_certificate, pki.server_key)
    context.load_verify_locations(other_pki.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])

    def refuse(listener):
        while True:
            try:
                raw, _ = listener.accept()
            except OSError:
                return
            with raw:
                try:
                    context.wrap_socket(raw, server_side=True)
                except OSError:
                    continue

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=refuse, args=(listener,), daemon=True).start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        outcomes = make_client(url).send(pushes(pki, 3))
        listener.shutdown(socket.SHUT_RDWR)
    assert outcomes == [Broken("TLSV1_ALERT_UNKNOWN_CA")] * 3


def test_batches_of_several_threads_do_not_mix(client, cloud, pki):
    """Each caller gets the outcomes of its own pushes."""
    batches = [pushes(pki, 60) for _ in range(4)]
    for batch in batches:
        cloud.script.answer(batch[0].token, Answer(410, "Unregistered", timestamp=1_790_000_000_000))
    results = [None] * 4

    def work(number):
        results[number] = client.send(batches[number])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for outcomes in results:
        assert isinstance(outcomes[0], Rejected)
        assert outcomes[1:] == [Accepted()] * 59


def test_a_push_hides_its_secrets():
    """Neither token nor magic shows in a repr, so neither reaches a log by accident."""
    text = repr(Push(b"\xab\xcd", "planted-magic", "topic", uuid4()))
    assert "planted-magic" not in text
    assert "abcd" not in text
    assert "\\xab" not in text
