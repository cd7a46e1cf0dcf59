"""The SCEP codec: what it reads, what it refuses, what openssl makes of its answers."""

import base64
import time
from contextlib import suppress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from enrollment.apple import scep
from mdm.cms.enveloped import Cipher
from mdm.cms.signed import parse_signed
from mdm.cms.signing import sign_attached
from mdm.errors import Malformed

CHALLENGE = "ab12" * 16


@pytest.mark.parametrize("cipher", [Cipher.AES_128, Cipher.AES_256, Cipher.DES3])
def test_a_request_and_its_answer(client, ca, keys, cipher):
    """A PKCSReq opens to key and challenge, and its answer opens to the issued certificate."""
    message = scep.parse(client.request(ca, CHALLENGE, transaction_id="0A+/=", cipher=cipher))
    assert (message.type, message.transaction_id) == (scep.MessageType.PKCS_REQ, "0A+/=")
    request = scep.open_request(message, ca, keys[-1])
    assert (request.challenge, request.cipher) == (CHALLENGE, cipher)
    assert request.spki == scep.spki_of(client.key.public_key())
    issued = client.certificate.public_bytes(Encoding.DER)
    answer = client.read(scep.succeed(message, request, issued, certificate=ca, key=keys[-1]), ca)
    assert (answer.status, answer.fail_info, answer.transaction_id) == ("0", None, "0A+/=")
    assert (answer.recipient_nonce, answer.certificate) == (client.nonce, client.certificate)


@pytest.mark.parametrize("reason", scep.FailInfo)
def test_a_refusal(client, ca, keys, reason):
    """A FAILURE carries the reason, the transaction and the nonce, and no content."""
    message = scep.parse(client.request(ca, CHALLENGE))
    answer = client.read(scep.refuse(message, reason, certificate=ca, key=keys[-1]), ca)
    assert (answer.status, answer.fail_info, answer.certificate) == ("2", reason.value, None)
    assert answer.recipient_nonce == client.nonce


@pytest.mark.parametrize(("kind", "renews"), [("17", True), ("18", True), ("19", False)])
def test_kinds_of_request(client, ca, kind, renews):
    """RenewalReq and the older UpdateReq renew; PKCSReq does not."""
    assert scep.parse(client.request(ca, kind=kind)).type.renews is renews


def test_a_renewal_may_be_for_another_key(client, ca, keys):
    """The old certificate signs, the request is for the new key."""
    renewal = scep.parse(client.request(ca, kind="17", key=keys[1]))
    assert scep.open_request(renewal, ca, keys[-1]).spki == scep.spki_of(keys[1].public_key())


def test_elliptic_keys(new_client, client, ca, keys):
    """A P-256 key may be certified by a renewal; an EC signer cannot get an encrypted answer and is refused."""
    curve = ec.generate_private_key(ec.SECP256R1())
    renewal = scep.parse(client.request(ca, kind="17", key=curve))
    assert isinstance(scep.open_request(renewal, ca, keys[-1]).public_key, ec.EllipticCurvePublicKey)
    with pytest.raises(scep.Refused) as caught:
        scep.open_request(scep.parse(new_client(curve).request(ca)), ca, keys[-1])
    assert caught.value.fail_info is scep.FailInfo.BAD_ALGORITHM


def test_a_message_as_go_libraries_write_it(client, ca, keys):
    """A throw-away signer, SHA-1, no NULL parameters, single DES, constructed ciphertext: all of it reads."""
    message = scep.parse(client.go_request(ca, keys[-2], CHALLENGE))
    request = scep.open_request(message, ca, keys[-1], allow_des=True)
    assert (request.challenge, request.cipher) == (CHALLENGE, Cipher.DES)
    assert request.spki == scep.spki_of(keys[-2].public_key())
    issued = client.certificate.public_bytes(Encoding.DER)
    reply = scep.succeed(message, request, issued, certificate=ca, key=keys[-1])
    assert client.read(reply, ca).certificate == client.certificate


def test_single_des_only_where_allowed(client, ca, keys):
    """Single DES is refused by default, opened where allowed, and never used for the answer."""
    message = scep.parse(client.request(ca, CHALLENGE, cipher=Cipher.DES))
    with pytest.raises(scep.Refused) as caught:
        scep.open_request(message, ca, keys[-1])
    assert caught.value.fail_info is scep.FailInfo.BAD_ALGORITHM
    request = scep.open_request(message, ca, keys[-1], allow_des=True)
    reply = scep.succeed(message, request, client.certificate.public_bytes(Encoding.DER), certificate=ca, key=keys[-1])
    assert client.read(reply, ca).certificate == client.certificate


def test_inner_failures_look_alike(client, new_client, ca, keys):
    """Rubbish, a broken signing request, a foreign CA and a weak key are refused in the same words."""
    csr = client.csr(CHALLENGE)
    weak = rsa.generate_private_key(65537, 1024)
    other_ca = client.certificate
    requests = [
        client.request(ca, content=b"rubbish"),
        client.request(ca, content=csr[:-1] + bytes((csr[-1] ^ 1,))),
        client.request(ca, content=csr.replace(CHALLENGE.encode(), CHALLENGE[::-1].encode())),
        client.request(other_ca, CHALLENGE),
        client.request(ca, key=weak),
    ]
    seen = set()
    for data in requests:
        with pytest.raises(scep.Refused) as caught:
            scep.open_request(scep.parse(data), ca, keys[-1])
        seen.add((caught.value.detail, caught.value.fail_info, caught.value.__cause__))
    assert len(seen) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "3"},
        {"kind": "1\uff19"},
        {"transaction_id": ""},
        {"transaction_id": "x" * 129},
        {"transaction_id": "a\x00b"},
    ],
)
def test_impossible_attributes_are_malformed(client, ca, changes):
    """Unknown types and transaction identifiers that no table could hold are refused at once."""
    with pytest.raises(Malformed):
        scep.parse(client.request(ca, **changes))


def test_missing_attributes_are_malformed(client, ca):
    """A signed message that is no SCEP message is Malformed."""
    with pytest.raises(Malformed):
        scep.parse(sign_attached(b"content", client.certificate, client.key))


def test_odd_transaction_identifiers_go_back_as_they_came(client, ca, keys):
    """Characters that PrintableString does not have go back as UTF8String."""
    message = scep.parse(client.request(ca, transaction_id="a_b@c"))
    reply = parse_signed(scep.refuse(message, scep.FailInfo.BAD_TIME, certificate=ca, key=keys[-1]))
    assert reply.attribute(scep.TRANSACTION_ID).take(0x0C) == b"a_b@c"


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
def test_openssl_writes_the_signing_request(client, ca, keys, openssl, tmp_path, digest):
    """A request made by `openssl req` with any digest that is listed opens to its challenge."""
    key = tmp_path / "key.pem"
    key.write_bytes(client.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    config = tmp_path / "req.cnf"
    config.write_text(
        f"[req]\nprompt=no\ndistinguished_name=dn\nattributes=at\n[dn]\nCN=x\n[at]\nchallengePassword={CHALLENGE}\n"
    )
    csr = openssl("req", "-new", f"-{digest}", "-key", key, "-config", config, "-outform", "DER")
    request = scep.open_request(scep.parse(client.request(ca, content=csr)), ca, keys[-1])
    assert request.challenge == CHALLENGE


def test_openssl_reads_the_answer(client, ca, keys, openssl, tmp_path):
    """`openssl cms` verifies the answer's signature and opens its envelope; `openssl pkcs7` prints the certificate."""
    for name, data in {
        "ca.pem": ca.public_bytes(Encoding.PEM),
        "key.pem": client.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "cert.pem": client.certificate.public_bytes(Encoding.PEM),
    }.items():
        (tmp_path / name).write_bytes(data)
    message = scep.parse(client.request(ca, CHALLENGE))
    request = scep.open_request(message, ca, keys[-1])
    issued = client.certificate.public_bytes(Encoding.DER)
    verify = ("cms", "-verify", "-binary", "-inform", "DER", "-CAfile", tmp_path / "ca.pem", "-purpose", "any")
    reply = scep.succeed(message, request, issued, certificate=ca, key=keys[-1])
    envelope = openssl(*verify, data=reply)
    receive = ("-recip", tmp_path / "cert.pem", "-inkey", tmp_path / "key.pem")
    inner = openssl("cms", "-decrypt", "-binary", "-inform", "DER", *receive, data=envelope)
    printed = openssl("pkcs7", "-inform", "DER", "-print_certs", data=inner)
    assert x509.load_pem_x509_certificate(printed[printed.index(b"-----BEGIN") :]) == client.certificate
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    refusal = scep.refuse(message, scep.FailInfo.BAD_REQUEST, certificate=ca, key=keys[-1])
    assert openssl(*verify, "-content", empty, data=refusal) == b""


@given(data=st.binary(max_size=200), url=st.booleans(), padded=st.booleans(), spaces=st.booleans())
def test_get_messages_in_every_spelling(data, url, padded, spaces):
    """Either alphabet, with or without padding, with pluses turned into spaces."""
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(data).decode()
    text = text if padded else text.rstrip("=")
    assert scep.decode_query(text.replace("+", " ") if spaces else text) == data


@pytest.mark.parametrize("text", ["a", "%%%%", "YQ=YQ", "あ"])
def test_get_messages_that_are_no_base64(text):
    """What is not base64 is Malformed."""
    with pytest.raises(Malformed):
        scep.decode_query(text)


@pytest.fixture(scope="module")
def whole(keys, ca, new_client):
    """One request, made once: what is drawn must not depend on fresh signatures."""
    return new_client(keys[0]).request(ca, CHALLENGE)


@given(data=st.data())
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutations_of_the_outer_message(data, whole, ca, keys):
    """Changed bytes raise typed errors only, in bounded time."""
    place = data.draw(st.integers(0, 8000)) % len(whole)
    keep = data.draw(st.sampled_from([0, 1, 4, 8000]))
    mutant = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + keep :]
    started = time.perf_counter()
    with suppress(Malformed, scep.Refused):
        scep.open_request(scep.parse(mutant), ca, keys[-1])
    assert time.perf_counter() - started < 1


@given(data=st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutations_of_the_signing_request(data, client, ca, keys):
    """A well-signed message with any bytes in its envelope is opened or refused."""
    csr = client.csr(CHALLENGE)
    place = data.draw(st.integers(0, 8000)) % len(csr)
    keep = data.draw(st.sampled_from([0, 1, 8000]))
    content = csr[:place] + data.draw(st.binary(max_size=4)) + csr[place + keep :]
    with suppress(scep.Refused):
        request = scep.open_request(scep.parse(client.request(ca, content=content)), ca, keys[-1])
        assert request.challenge == CHALLENGE
