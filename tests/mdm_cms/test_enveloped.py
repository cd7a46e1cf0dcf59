"""EnvelopedData: round trips, openssl on either side, and one answer to everything that does not open."""

from contextlib import suppress

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdm.cms import enveloped
from mdm.cms.enveloped import Cipher
from mdm.errors import Malformed

NAMES = {Cipher.AES_128: "-aes-128-cbc", Cipher.AES_256: "-aes-256-cbc", Cipher.DES3: "-des3"}
FIXTURES = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def opened(data, party, **options):
    return enveloped.decrypt(enveloped.parse_enveloped(data, **options), party.certificate, party.key)


@given(content=st.binary(max_size=3000), cipher=st.sampled_from(Cipher))
@FIXTURES
def test_what_we_close_we_open(rsa_party, content, cipher):
    """Every cipher carries every content."""
    assert opened(enveloped.encrypt(content, rsa_party.certificate, cipher), rsa_party, allow_des=True) == content


@pytest.mark.parametrize("cipher", NAMES)
@pytest.mark.parametrize("stream", [(), ("-stream", "-indef")])
def test_openssl_closes_and_we_open(rsa_party, tmp_path, openssl, cipher, stream):
    """What `openssl cms -encrypt` writes, DER or streamed BER, opens."""
    _, certificate = rsa_party.write(tmp_path)
    data = openssl(
        "cms", "-encrypt", "-binary", "-outform", "DER", NAMES[cipher], *stream, certificate, data=b"content" * 2000
    )
    assert opened(data, rsa_party) == b"content" * 2000


@pytest.mark.parametrize("cipher", NAMES)
def test_we_close_and_openssl_opens(rsa_party, tmp_path, openssl, cipher):
    """`openssl cms -decrypt` opens what we write."""
    key, certificate = rsa_party.write(tmp_path)
    data = enveloped.encrypt(b"content", rsa_party.certificate, cipher)
    assert (
        openssl("cms", "-decrypt", "-binary", "-inform", "DER", "-recip", certificate, "-inkey", key, data=data)
        == b"content"
    )


def test_single_des_only_where_allowed(rsa_party):
    """Single DES needs the caller's word."""
    data = enveloped.encrypt(b"content", rsa_party.certificate, Cipher.DES)
    with pytest.raises(Malformed):
        enveloped.parse_enveloped(data)
    assert opened(data, rsa_party, allow_des=True) == b"content"


def test_single_des_is_des(rsa_party):
    """A known answer of FIPS 46: the cipher behind the flag is DES and not something of our own."""
    encryptor = Cipher.DES.engine(bytes.fromhex("133457799bbcdff1"), bytes(8)).encryptor()
    assert encryptor.update(bytes.fromhex("0123456789abcdef")).hex() == "85e813540f0ab405"


def test_failures_look_alike(rsa_party, other_rsa):
    """Wrong recipient, wrong key size, broken key transport and broken padding give one and the same error."""
    data = enveloped.encrypt(b"content" * 5, rsa_party.certificate)
    envelope = enveloped.parse_enveloped(data)
    sid = envelope.recipients[0][0]
    public = rsa_party.key.public_key()
    recipients = [
        (),
        ((sid, b""),),
        ((sid, bytes(256)),),
        ((sid, b"\xff" * 256),),
        ((sid, public.encrypt(bytes(16), PKCS1v15())),),
        ((sid, public.encrypt(bytes(32), PKCS1v15())),),
    ]
    seen = set()
    for changed in recipients:
        broken = enveloped.Enveloped(changed, envelope.cipher, envelope.vector, envelope.ciphertext)
        try:
            seen.add(("opened", enveloped.decrypt(broken, rsa_party.certificate, rsa_party.key) == b"content" * 5))
        except Malformed as error:
            seen.add((error.detail, error.__cause__))
    # A random key makes good padding once in 256; then the content is rubbish, never the true one.
    assert seen <= {("The message cannot be opened.", None), ("opened", False)}
    with pytest.raises(Malformed, match="cannot be opened"):
        [enveloped.decrypt(envelope, other_rsa.certificate, other_rsa.key) for _ in range(40)]


@given(data=st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mutations_only_raise_malformed(data, rsa_party):
    """Changed and cut messages open to something or are Malformed."""
    whole = enveloped.encrypt(b"content", rsa_party.certificate)
    place = data.draw(st.integers(0, len(whole) - 1))
    keep = data.draw(st.sampled_from([0, 1, len(whole)]))
    mutant = whole[:place] + data.draw(st.binary(max_size=4)) + whole[place + keep :]
    with suppress(Malformed):
        opened(mutant, rsa_party, allow_des=True)


def test_an_ec_certificate_cannot_receive(ec_party):
    """Key transport needs RSA, and says so."""
    with pytest.raises(Malformed):
        enveloped.encrypt(b"", ec_party.certificate)
