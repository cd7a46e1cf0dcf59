"""The statuses of the door: who is let speak, what is answered, and never a 401."""

import base64
import plistlib
import random
import time
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from starlette.testclient import TestClient

from mdm import app
from tests.mdm_apple.district import Authority, District, Tablet, shared_key, sign

_USER = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"


def _client_cert(tablet: Tablet) -> dict[str, str]:
    der = tablet.certificate.public_bytes(Encoding.DER)
    return {"Client-Cert": f":{base64.b64encode(der).decode()}:"}


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("content_type", ["application/x-apple-aspen-mdm; charset=UTF-8", "", None])
def test_both_methods_and_any_content_type_are_taken(district: District, method: str, content_type: str | None) -> None:
    """Real tablets PUT with a content type, some clients POST without one."""
    tablet = district.enrolled()
    body = plistlib.dumps({"Status": "Idle", "UDID": tablet.udid})
    headers = {"Mdm-Signature": sign(body, tablet.certificate)}
    if content_type is not None:
        headers["Content-Type"] = content_type
    answer = tablet.send(body, method=method, headers=headers)
    assert (answer.status, answer.body) == (200, b"")


def test_other_methods_are_405(district: District) -> None:
    """The door has two methods."""
    for method in ("GET", "HEAD", "DELETE", "PATCH", "OPTIONS"):
        assert district.client.request(method, "/mdm/apple").status_code == 405


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"Status": "Idle"},
        {"Status": "Dancing", "UDID": "A"},
        {"Status": 5, "UDID": "A"},
        {"Status": "Acknowledged", "UDID": "A"},
        {"Status": "Idle", "UDID": "A,B"},
        {"Status": "Idle", "UDID": "A" * 65},
        {"MessageType": "Authenticate", "UDID": "A"},
        {"MessageType": "TokenUpdate", "UDID": "A", "Topic": "t"},
        {"MessageType": "TokenUpdate", "UDID": "A", "Topic": "t", "Token": "text", "PushMagic": "m"},
        {"MessageType": "CheckOut"},
        {"MessageType": "GetToken", "UDID": "A", "TokenServiceType": "com.apple.maid"},
    ],
)
def test_a_malformed_message_is_400(district: District, document: dict[str, Any]) -> None:
    """Missing or wrong keys are the sender's fault, signed or not."""
    assert district.enrolled().send(document).status == 400


def test_bytes_that_are_no_property_list_are_400(district: District) -> None:
    """A binary list, JSON and nothing at all."""
    tablet = district.enrolled()
    binary = plistlib.dumps({"Status": "Idle", "UDID": tablet.udid}, fmt=plistlib.FMT_BINARY)
    assert [tablet.send(body).status for body in (binary, b"{}", b"")] == [400, 400, 400]


def test_an_oversized_body_is_413(district: District) -> None:
    """The limit of the settings holds before anything is parsed."""
    assert district.enrolled().send(b"<" * (4 * 1024 * 1024 + 1)).status == 413


def test_a_missing_or_broken_signature_is_400(district: District) -> None:
    """No header, no base64, no CMS, two headers."""
    tablet = district.enrolled()
    body = plistlib.dumps({"Status": "Idle", "UDID": tablet.udid})
    good = sign(body, tablet.certificate)
    for headers in ({}, {"Mdm-Signature": "!"}, {"Mdm-Signature": "AAAA"}, {"Mdm-Signature": ""}):
        assert tablet.send(body, headers=headers).status == 400
    assert tablet.send(body, headers=[("Mdm-Signature", good), ("Mdm-Signature", good)]).status == 400
    assert tablet.send(body, headers={"Mdm-Signature": good}).status == 200


def test_a_captured_signature_with_another_body_is_400(district: District) -> None:
    """The signature is over these bytes and no others, not even one space more."""
    tablet = district.enrolled()
    command_id = district.order(tablet, "restart")
    body = plistlib.dumps({"Status": "Idle", "UDID": tablet.udid})
    captured = {"Mdm-Signature": sign(body, tablet.certificate)}
    forged = plistlib.dumps({"Status": "Acknowledged", "UDID": tablet.udid, "CommandUUID": str(command_id)})
    assert tablet.send(forged, headers=captured).status == 400
    assert tablet.send(body + b" ", headers=captured).status == 400
    assert district.state(command_id) == "queued"


def test_certificates_of_others_are_400(district: District) -> None:
    """For another use, expired, not yet valid, ours but not on record, revoked, never associated."""
    tablet = district.enrolled()
    wrong = [
        district.authority.issue(usage=ExtendedKeyUsageOID.SERVER_AUTH),
        district.authority.issue(starts=timedelta(days=-10), lasts=timedelta(days=9)),
        district.authority.issue(starts=timedelta(hours=1)),
    ]
    for certificate in wrong:
        district.register(certificate, device_id=tablet.device_id)
        district.connection.execute("UPDATE device_identity SET associated_at = now()")
    unknown, unused = district.authority.issue(), district.authority.issue()
    district.register(unused, device_id=tablet.device_id)
    mine = tablet.certificate
    for certificate in (*wrong, unknown, unused):
        tablet.certificate = certificate
        assert tablet.idle().status == 400
    tablet.certificate = mine
    assert tablet.idle().status == 200
    district.connection.execute("UPDATE device_identity SET revoked_at = now() WHERE sha256 = %s", (tablet.thumbprint,))
    assert tablet.idle().status == 400


def test_another_ca_is_not_believed(district: District) -> None:
    """A certificate of a CA that is not on record opens nothing, though its hash be in the table."""
    tablet = district.enrolled()
    other = Authority("Invented device CA", key=shared_key("another CA"))
    mine, tablet.certificate = tablet.certificate, other.issue()
    district.register(tablet.certificate, device_id=tablet.device_id)
    district.connection.execute("UPDATE device_identity SET associated_at = now()")
    assert tablet.idle().status == 400
    tablet.certificate = mine
    assert tablet.idle().status == 200


def test_a_ca_that_is_made_later_is_found(district: District) -> None:
    """The door reads the CAs again when a certificate chains to none it knows."""
    district.enrolled()
    late = Authority("Late CA")
    district.authority = late
    district.trust(late)
    newcomer = district.tablet()
    statuses = []
    for _ in range(40):
        statuses.append(newcomer.authenticate().status)
        if statuses[-1] == 200:
            break
        time.sleep(0.05)  # the door asks at most once a second
    assert statuses[-1] == 200


def test_a_certificate_of_one_tablet_does_not_speak_for_another(district: District) -> None:
    """Certificate of A with the UDID of B is refused and changes nothing."""
    first, second = district.enrolled(), district.enrolled()
    command_id = district.order(second, "restart")
    second.idle()
    impostor = Tablet(district.client, second.serial, second.udid, first.certificate, second.device_id)
    assert impostor.idle().status == 400
    assert impostor.report("Acknowledged", str(command_id)).status == 400
    assert impostor.token_update().status == 400
    assert impostor.check_out().status == 400
    # and with its own UDID a tablet cannot settle what is not its own
    assert first.report("Acknowledged", str(command_id)).status == 200
    assert district.state(command_id) == "delivered"


def test_client_cert_counts_from_a_named_proxy_only(district: District) -> None:
    """The header of RFC 9440 is believed from the proxy of the settings, and invisible from anyone else."""
    tablet = district.enrolled()
    body = plistlib.dumps({"Status": "Idle", "UDID": tablet.udid})
    assert tablet.send(body, headers=_client_cert(tablet)).status == 200
    signed = {**_client_cert(district.enrolled()), "Mdm-Signature": sign(body, tablet.certificate)}
    with TestClient(app.device_app(), client=("10.20.30.41", 1), raise_server_exceptions=False) as outsider:
        assert outsider.put("/mdm/apple", content=body, headers=_client_cert(tablet)).status_code == 400
        assert outsider.put("/mdm/apple", content=body, headers=signed).status_code == 200


def test_client_cert_must_be_one_well_formed_and_agree_with_a_signature(district: District) -> None:
    """Broken, doubled, or another tablet's: 400."""
    tablet, other = district.enrolled(), district.enrolled()
    body = plistlib.dumps({"Status": "Idle", "UDID": tablet.udid})
    good = _client_cert(tablet)["Client-Cert"]
    for value in ("", "::", good[1:], good[:-1], ":%%%:", ":AAAA:"):
        assert tablet.send(body, headers={"Client-Cert": value}).status == 400
    assert tablet.send(body, headers=[("Client-Cert", good), ("Client-Cert", good)]).status == 400
    both = {"Client-Cert": good, "Mdm-Signature": sign(body, other.certificate)}
    assert tablet.send(body, headers=both).status == 400


def test_a_tablet_that_left_or_was_retired_is_403_with_the_code(district: District) -> None:
    """The body makes an iPad of iOS 17 or later unenrol itself."""
    left, retired = district.enrolled(), district.enrolled()
    assert left.check_out().status == 200
    district.connection.execute("UPDATE enrollment SET status = 'ended' WHERE device_id = %s", (retired.device_id,))
    for answer in (left.idle(), left.token_update(), retired.idle(), retired.token_update()):
        assert (answer.status, answer.body) == (403, b'{"code": "com.apple.unrecognized.device"}')
        assert answer.headers["content-type"] == "application/json"


def test_messages_that_are_not_offered_keep_the_tablet_calm(district: District) -> None:
    """No user channel: 410 and silence. No declarations: 404. No bootstrap token: empty data."""
    tablet = district.enrolled()

    def say(kind: str, **extra: Any) -> Any:
        return tablet.send({"MessageType": kind, "UDID": tablet.udid, "Topic": tablet.topic, **extra})

    assert say("UserAuthenticate").status == 410
    assert say("DeclarativeManagement", Endpoint="tokens").status == 404
    assert say("SetBootstrapToken", BootstrapToken=b"x").status == 200
    assert plistlib.loads(say("GetBootstrapToken").body) == {"BootstrapToken": b""}
    before = district.enrollment(tablet, "push_token")
    assert say("TokenUpdate", UserID=_USER, Token=b"user", PushMagic="user").status == 200
    assert district.enrollment(tablet, "push_token") == before
    district.order(tablet, "restart")
    assert tablet.send({"Status": "Idle", "UDID": tablet.udid, "UserID": _USER}).body == b""


def test_a_database_that_is_away_is_503(district: District) -> None:
    """The tablet comes again; nothing is decided about it."""
    tablet = district.enrolled()
    district.connection.execute("ALTER TABLE device_identity RENAME TO away")
    try:
        assert tablet.idle().status == 503
        assert tablet.token_update().status == 503
    finally:
        district.connection.execute("ALTER TABLE away RENAME TO device_identity")
    assert tablet.idle().status == 200


def test_connections_that_were_cut_are_replaced(district: District) -> None:
    """A restart of the database is not the tablet's problem."""
    tablet = district.enrolled()
    assert tablet.idle().status == 200
    district.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        " AND datname = current_database()"
    )
    assert [tablet.idle().status for _ in range(3)] == [200, 200, 200]


def test_no_path_of_the_device_app_answers_401(district: District) -> None:
    """Every route, every method, with no, broken and foreign credentials: never the status that unenrols a tablet."""
    tablet = district.enrolled()
    routes = {getattr(route, "path", "/") for router in app.DEVICE_ROUTERS for route in router.routes}
    paths = {path.replace("{secret}", "x") for path in routes} | {
        "/",
        "/nowhere",
        "/mdm/apple",
        "/livez",
        "/mdm/apple/",
    }
    credentials: list[dict[str, str]] = [
        {},
        {"Authorization": "Basic eDp4"},
        {"Authorization": "Bearer x"},
        {"Mdm-Signature": "AAAA"},
        {"Mdm-Signature": sign(b"other", tablet.certificate)},
        {"Client-Cert": ":AAAA:"},
        {"Cookie": "session=x"},
    ]
    assert "/mdm/apple" in routes
    for path in sorted(paths):
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            for headers in credentials:
                response = district.client.request(method, path, headers=headers, content=b"x")
                assert response.status_code not in (401, 407), (method, path)


def test_mutated_messages_are_400_or_harmless_and_never_5xx(district: District) -> None:
    """Signed and unsigned noise: only typed refusals come out of the parsers."""
    dice = random.Random(20261123)
    tablet = district.enrolled()
    seeds = [
        plistlib.dumps({"Status": "Idle", "UDID": tablet.udid}),
        plistlib.dumps(
            {
                "Status": "Error",
                "UDID": tablet.udid,
                "CommandUUID": "0A9D1D3C-0000-4000-8000-000000000000",
                "ErrorChain": [{"ErrorCode": 12, "ErrorDomain": "x", "USEnglishDescription": "y"}, 5],
                "QueryResponses": {"ServiceSubscriptions": [{"ICCID": "89 81"}, 3], "BatteryLevel": 0.5},
            }
        ),
        plistlib.dumps(
            {"MessageType": "TokenUpdate", "UDID": tablet.udid, "Topic": "t", "Token": b"x", "PushMagic": "m"}
        ),
    ]
    for turn in range(150):
        body = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 6)):
            at = dice.randrange(len(body))
            body[at : at + dice.randint(0, 3)] = dice.randbytes(dice.randint(0, 3))
        headers = {"Mdm-Signature": sign(bytes(body), tablet.certificate)}
        if turn % 3 == 0:
            broken = bytearray(base64.b64decode(headers["Mdm-Signature"]))
            broken[dice.randrange(len(broken))] ^= 1 << dice.randrange(8)
            headers["Mdm-Signature"] = base64.b64encode(broken).decode()
        status = tablet.send(bytes(body), headers=headers).status
        assert status in (200, 400, 404, 410), body
