"""SignedData: against the writers of openssl and cryptography, against openssl's reader, and under mutation."""

import base64
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import ExtendedKeyUsageOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdm.cms import der, oids, signed, signing
from mdm.cms.certificates import Untrusted, verify_chain
from mdm.errors import Malformed

BODY = b"<?xml version='1.0'?><plist/>\r\n\x00 bytes"


def detached(party, content=BODY, digest=None, *more):
    builder = pkcs7.PKCS7SignatureBuilder().set_data(content)
    builder = builder.add_signer(party.certificate, party.key, digest or hashes.SHA256())
    for other in more:
        builder = builder.add_signer(other.certificate, other.key, hashes.SHA256())
    return builder.sign(Encoding.DER, [pkcs7.PKCS7Options.DetachedSignature, pkcs7.PKCS7Options.Binary])


@pytest.mark.parametrize("who", ["rsa_party", "ec_party", "p384_party"])
@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_a_detached_signature_names_its_signer(request, who, digest):
    """RSA, P-256 and P-384 signers are found and verified, with each SHA-2."""
    party = request.getfixturevalue(who)
    leaf = signed.verify_detached(detached(party, BODY, digest), BODY)
    assert leaf.der == party.der
    assert leaf.thumbprint == party.certificate.fingerprint(hashes.SHA256())
    assert leaf.certificate == party.certificate


@pytest.mark.parametrize("who", ["rsa_party", "ec_party", "p384_party"])
@pytest.mark.parametrize("stream", [(), ("-stream", "-indef")])
@pytest.mark.parametrize("digest", ["sha256", "sha512"])
def test_openssl_signs_and_we_verify(request, tmp_path, openssl, who, stream, digest):
    """What `openssl cms -sign` writes, attached or not, DER or indefinite-length BER, verifies."""
    party = request.getfixturevalue(who)
    key, certificate = party.write(tmp_path)
    sign = ("cms", "-sign", "-binary", "-outform", "DER", "-md", digest, "-signer", certificate, "-inkey", key, *stream)
    assert signed.verify_detached(openssl(*sign, data=BODY), BODY).der == party.der
    attached = openssl(*sign, "-nodetach", data=BODY)
    assert signed.verify_detached(attached, BODY).der == party.der
    parsed = signed.parse_signed(attached)
    assert (parsed.content, parsed.signer.der) == (BODY, party.der)
    assert (b"\x30\x80" in attached[:2]) is bool(stream)


def test_several_certificates_may_come_along(rsa_party, ec_party, tmp_path, openssl):
    """The signer is found by issuer and serial number among the certificates, not by place."""
    key, certificate = rsa_party.write(tmp_path)
    extra = tmp_path / "extra.pem"
    extra.write_bytes(ec_party.certificate.public_bytes(Encoding.PEM))
    data = openssl(
        "cms",
        "-sign",
        "-binary",
        "-outform",
        "DER",
        "-signer",
        certificate,
        "-inkey",
        key,
        "-certfile",
        extra,
        data=BODY,
    )
    assert signed.verify_detached(data, BODY).der == rsa_party.der


def test_another_body_is_refused(rsa_party):
    """A captured signature is worth nothing with another body, whatever content it carries itself."""
    for signature in (detached(rsa_party), signing.sign_attached(BODY, rsa_party.certificate, rsa_party.key)):
        for body in (b"", BODY + b"\n", BODY[:-1]):
            with pytest.raises(Malformed, match="another body"):
                signed.verify_detached(signature, body)


def test_sha1_only_where_allowed(rsa_party, tmp_path, openssl):
    """A SHA-1 digest needs the caller's word."""
    key, certificate = rsa_party.write(tmp_path)
    data = openssl(
        "cms", "-sign", "-binary", "-outform", "DER", "-md", "sha1", "-signer", certificate, "-inkey", key, data=BODY
    )
    assert signed.verify_detached(data, BODY, allow_sha1=True).der == rsa_party.der
    with pytest.raises(Malformed):
        signed.verify_detached(data, BODY)


def test_what_is_not_exactly_one_signer_with_attributes_is_refused(rsa_party, ec_party, tmp_path, openssl):
    """Two signers, no signer, no certificate, no signed attributes, key identifiers and PSS are refused."""
    key, certificate = rsa_party.write(tmp_path)
    sign = ("cms", "-sign", "-binary", "-outform", "DER", "-signer", certificate, "-inkey", key)
    pss = ("-keyopt", "rsa_padding_mode:pss")
    refused = [detached(rsa_party, BODY, None, ec_party), signing.degenerate([rsa_party.der])]
    refused += [openssl(*sign, *options, data=BODY) for options in (("-nocerts",), ("-noattr",), pss)]
    for data in refused:
        with pytest.raises(Malformed):
            signed.verify_detached(data, BODY)


def test_a_signature_under_another_key_is_refused(rsa_party, other_rsa):
    """The certificate in the message must hold the key that signed."""
    with pytest.raises(Malformed, match="signature is wrong"):
        signed.verify_detached(signing.sign_attached(BODY, rsa_party.certificate, other_rsa.key), BODY)


def test_a_digest_that_contradicts_the_signature_algorithm_is_refused(rsa_party):
    """sha512WithRSAEncryption beside a SHA-256 digest is not believed."""
    data = detached(rsa_party)
    swapped = data.replace(der.oid(oids.RSA_ENCRYPTION), der.oid(oids.RSA_SHA512))
    info = data.rindex(der.oid(oids.RSA_ENCRYPTION))
    patched = data[:info] + der.oid(oids.RSA_SHA512) + data[info + len(der.oid(oids.RSA_SHA512)) :]
    assert patched != data != swapped
    with pytest.raises(Malformed, match="algorithm"):
        signed.verify_detached(patched, BODY)


def test_small_keys_are_refused(party):
    """An RSA key under 2048 bits is not verified at all."""
    with pytest.raises(Malformed, match="kind or size"):
        signed.verify_detached(detached(party(rsa.generate_private_key(65537, 1024))), BODY)


@pytest.mark.parametrize("who", ["rsa_party", "ec_party"])
@given(content=st.one_of(st.none(), st.binary(max_size=2000)), value=st.binary(max_size=40))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_we_sign_we_verify(request, who, content, value):
    """Content and further attributes come back as they were signed."""
    party = request.getfixturevalue(who)
    identifier = der.oid_content("2.16.840.1.113733.1.9.5")
    data = signing.sign_attached(
        content, party.certificate, party.key, attributes=[(identifier, der.tlv(der.OCTET_STRING, value))]
    )
    parsed = signed.parse_signed(data)
    assert parsed.content == (content or b"")
    assert parsed.attribute(identifier).take(der.OCTET_STRING) == value
    assert parsed.attribute(oids.SIGNING_TIME) is None


@pytest.mark.parametrize("who", ["rsa_party", "ec_party"])
def test_what_we_sign_openssl_verifies(request, tmp_path, openssl, who):
    """`openssl cms -verify` accepts our signature and hands back the content."""
    party = request.getfixturevalue(who)
    _, certificate = party.write(tmp_path)
    data = signing.sign_attached(BODY, party.certificate, party.key)
    out = openssl("cms", "-verify", "-binary", "-inform", "DER", "-CAfile", certificate, "-purpose", "any", data=data)
    assert out == BODY


def test_openssl_reads_our_degenerate_message(rsa_party, ec_party, openssl):
    """`openssl pkcs7 -print_certs` finds the certificates, in our order; so do we."""
    data = signing.degenerate([rsa_party.der, ec_party.der])
    text = openssl("pkcs7", "-inform", "DER", "-print_certs", data=data).decode()
    assert text.index("CN = rsa") < text.index("CN = p256")
    assert signed.parse_degenerate(data) == (rsa_party.der, ec_party.der)
    with pytest.raises(Malformed):
        signed.parse_degenerate(detached(rsa_party))


def test_the_header_is_strict_base64():
    """Only the standard alphabet, only so much of it."""
    assert signed.from_header(base64.b64encode(b"\xff\xfe\xfd").decode()) == b"\xff\xfe\xfd"
    for value in ("a", "YQ=", "Y Q==", "__8=", "\u3042", "A" * 20_000):
        with pytest.raises(Malformed):
            signed.from_header(value)


def test_the_chain(party, rsa_party, other_rsa, ec_party):
    """A leaf must be signed by one of our CAs, for clients, be no CA, and be valid at that moment, but for grace."""
    ca = party(rsa_party.key, name="ca", ca=True, usages=())
    stranger = party(other_rsa.key, name="ca", ca=True, usages=())
    moment = datetime.now(UTC)
    leaf = party(ec_party.key, issuer=ca)
    cas = [stranger.certificate, ca.certificate]
    assert verify_chain(leaf.der, cas, at=moment) == ca.certificate
    assert verify_chain(leaf.der, cas, at=moment + timedelta(days=31), grace=timedelta(days=2)) == ca.certificate
    for at in (moment - timedelta(days=2), moment + timedelta(days=31)):
        with pytest.raises(Untrusted):
            verify_chain(leaf.der, cas, at=at)
    for bad, authorities in (
        (leaf, [stranger.certificate]),
        (leaf, []),
        (party(ec_party.key, issuer=ca, usages=()), cas),
        (party(ec_party.key, issuer=ca, usages=(ExtendedKeyUsageOID.SERVER_AUTH,)), cas),
        (party(ec_party.key, issuer=ca, ca=True), cas),
        (party(ec.generate_private_key(ec.SECP256R1()), name="ca"), cas),
    ):
        with pytest.raises(Untrusted):
            verify_chain(bad.der, authorities, at=moment)


@pytest.fixture(scope="module")
def samples(ec_party, rsa_party):
    """Signed once: what is drawn must not depend on fresh signatures."""
    return [detached(rsa_party), detached(ec_party), signing.sign_attached(BODY, ec_party.certificate, ec_party.key)]


@given(data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutations_never_crash(data, samples):
    """Changed, cut and lengthened messages verify or are Malformed, in bounded time."""
    whole = data.draw(st.sampled_from(samples))
    place = data.draw(st.integers(0, 5000)) % len(whole)
    patch = data.draw(st.binary(max_size=6))
    keep = data.draw(st.sampled_from([0, 1, 6, 5000]))
    mutant = whole[:place] + patch + whole[place + keep :]
    started = time.perf_counter()
    for attempt in (signed.parse_signed, signed.parse_degenerate, lambda d: signed.verify_detached(d, BODY)):
        with suppress(Malformed):
            attempt(mutant)
    assert time.perf_counter() - started < 1


@pytest.mark.parametrize("bit", [0x01, 0x20, 0x80])
def test_every_single_flip(samples, rsa_party, bit):
    """A flipped bit is Malformed, changes the certificate's thumbprint, or stands in what nothing depends on."""
    whole = samples[0]
    idle = 0
    for place in range(len(whole)):
        mutant = whole[:place] + bytes((whole[place] ^ bit,)) + whole[place + 1 :]
        with suppress(Malformed):
            idle += signed.verify_detached(mutant, BODY).der == rsa_party.der
    # Versions, the announced digest, parameters and the absent content's type: about forty octets.
    assert idle < 60


@given(st.binary(max_size=400))
def test_any_bytes_are_malformed(data):
    """Random bytes are no message."""
    with pytest.raises(Malformed):
        signed.verify_detached(data, b"")
