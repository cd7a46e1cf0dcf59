"""The simulated push service, seen by an HTTP client that is not ours."""

import ssl

import httpx2
import pytest

from simulator.clouds.apns import ApnsCloud, serving
from simulator.clouds.apns_script import Answer, Fault, Mishap, Script
from simulator.clouds.pki import make_push_pki, topic_of

TOKEN = "ab" * 32


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_push_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def woken():
    return []


@pytest.fixture
def cloud(pki, woken):
    with serving(ApnsCloud(pki, on_push=lambda token, magic: woken.append((token.hex(), magic)))) as running:
        yield running


@pytest.fixture
def client(pki, cloud):
    context = ssl.create_default_context(cafile=pki.authority)
    context.load_cert_chain(pki.push_certificate, pki.push_key)
    with httpx2.Client(base_url=cloud.url, verify=context, http1=False, http2=True) as made:
        made.headers = {"apns-topic": pki.topic, "apns-push-type": "mdm"}
        yield made


def test_a_good_push_wakes_the_tablet(client, cloud, woken):
    """200 echoes the apns-id, the tablet hears its magic, the journal keeps only a digest of it."""
    answer = client.post(f"/3/device/{TOKEN}", json={"mdm": "m1"}, headers={"apns-id": "id-1"})
    assert (answer.status_code, answer.headers["apns-id"], answer.content) == (200, "id-1", b"")
    assert woken == [(TOKEN, "m1")]
    assert [(entry.token, entry.outcome, entry.delivered) for entry in cloud.journal] == [(TOKEN, "200", True)]
    assert "m1" not in repr(cloud.journal)


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"url": "/3/device/zz"}, 404, "BadPath"),
        ({"url": "/3/device/"}, 400, "MissingDeviceToken"),
        ({"url": "/3/device/abcd"}, 400, "BadDeviceToken"),
        ({"method": "PUT"}, 405, "MethodNotAllowed"),
        ({"headers": {"apns-topic": "com.example"}}, 400, "TopicDisallowed"),
        ({"headers": {"apns-push-type": "alert"}}, 400, "InvalidPushType"),
        ({"json": {"mdm": "m", "aps": {}}}, 400, "PayloadEmpty"),
        ({"json": {}}, 400, "PayloadEmpty"),
        ({"json": {"mdm": "m" * 5000}}, 413, "PayloadTooLarge"),
    ],
)
def test_what_the_vendor_refuses_is_refused(client, woken, change, status, reason):
    """Each broken rule has the vendor's status and reason, and wakes nobody."""
    request = {"method": "POST", "url": f"/3/device/{TOKEN}", "json": {"mdm": "m"}} | change
    answer = client.request(**request)
    assert (answer.status_code, answer.json()["reason"]) == (status, reason)
    assert woken == []


def test_without_a_client_certificate_there_is_no_service(pki, cloud):
    """The handshake demands a certificate."""
    context = ssl.create_default_context(cafile=pki.authority)
    with (
        httpx2.Client(base_url=cloud.url, verify=context, http2=True) as stranger,
        pytest.raises(httpx2.TransportError),
    ):
        stranger.post(f"/3/device/{TOKEN}", json={"mdm": "m"})
    assert cloud.journal == []


def test_a_scripted_answer_runs_out(client, cloud):
    """An answer for one push of one token, then health again; 410 carries its timestamp."""
    cloud.script.answer(bytes.fromhex(TOKEN), Answer(410, "Unregistered", timestamp=1_790_000_000_000), times=1)
    first = client.post(f"/3/device/{TOKEN}", json={"mdm": "m"})
    assert (first.status_code, first.json()) == (410, {"reason": "Unregistered", "timestamp": 1_790_000_000_000})
    assert client.post(f"/3/device/{TOKEN}", json={"mdm": "m"}).status_code == 200


def test_the_journal_of_a_cut_line_says_what_was_taken(client, cloud):
    """A push taken before the cut counts as delivered although no answer came."""
    cloud.script.faults = [Fault(Mishap.CUT, every=1)]
    with pytest.raises(httpx2.TransportError):
        client.post(f"/3/device/{TOKEN}", json={"mdm": "m"})
    assert cloud.deliveries() == {TOKEN: 1}
    assert cloud.journal[0].outcome == "cut"


def test_faults_strike_as_often_as_told():
    """Every third request, twice in all."""
    script = Script(faults=[Fault(Mishap.RESET, every=3, times=2)])
    struck = [number for number in range(1, 20) if script.mishap_for(number) is not None]
    assert struck == [3, 6]


def test_the_topic_is_the_subject_uid(pki):
    """The push certificate names its topic as the vendor's does."""
    der = ssl.PEM_cert_to_DER_cert(pki.push_certificate.read_text())
    assert topic_of(der) == pki.topic
    assert pki.topic.startswith("com.apple.mgmt.External.")
