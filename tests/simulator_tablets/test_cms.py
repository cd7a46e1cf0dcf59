"""The tablet's CMS against OpenSSL, a witness that neither tablet nor server shares."""

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st

from simulator.tablets import der
from simulator.tablets.cms import BadMessage, Signer, open_signed, seal, sign, unseal
from simulator.tablets.scep import ScepPayload, _self_signed, _subject

needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="the openssl command is not installed")


@pytest.fixture(scope="module")
def signer() -> Signer:
    key = rsa.generate_private_key(65537, 2048)
    return Signer(_self_signed(_subject(ScepPayload("", subject=((("CN", "tablet"),),))), key), key)


@pytest.fixture
def files(signer: Signer, tmp_path: Path) -> Path:
    (tmp_path / "certificate.pem").write_bytes(signer.certificate.public_bytes(Encoding.PEM))
    private = signer.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / "key.pem").write_bytes(private)
    (tmp_path / "content").write_bytes(b"<plist/>")
    return tmp_path


def openssl(folder: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["openssl", "cms", *arguments], cwd=folder, check=check, capture_output=True)


@needs_openssl
def test_openssl_accepts_a_detached_signature_over_its_body_only(signer, files):
    """The signature holds for the signed bytes and for no others."""
    (files / "signature").write_bytes(sign(b"<plist/>", signer, attached=False))
    verify = ["-verify", "-inform", "DER", "-in", "signature", "-content", "content", "-CAfile", "certificate.pem"]
    verify += ["-purpose", "any", "-binary"]
    openssl(files, *verify)
    (files / "content").write_bytes(b"<plist>other</plist>")
    assert openssl(files, *verify, check=False).returncode != 0


@needs_openssl
def test_openssl_opens_what_a_tablet_seals(signer, files):
    """The envelope opens with the recipient's key."""
    (files / "envelope").write_bytes(seal(b"secret", signer.certificate))
    opened = openssl(files, "-decrypt", "-inform", "DER", "-in", "envelope", "-inkey", "key.pem")
    assert opened.stdout == b"secret"


@needs_openssl
@pytest.mark.parametrize("cipher", ["-aes128", "-aes256"])
def test_a_tablet_opens_what_openssl_seals_and_signs(signer, files, cipher):
    """Envelopes and attached signatures of another maker are read."""
    openssl(
        files, "-encrypt", cipher, "-binary", "-outform", "DER", "-in", "content", "-out", "sealed", "certificate.pem"
    )
    assert unseal((files / "sealed").read_bytes(), signer.key) == b"<plist/>"
    flags = ["-sign", "-nodetach", "-binary", "-md", "sha256", "-outform", "DER", "-in", "content", "-out", "signed"]
    openssl(files, *flags, "-signer", "certificate.pem", "-inkey", "key.pem")
    assert open_signed((files / "signed").read_bytes()).content == b"<plist/>"


def test_a_changed_message_is_not_accepted(signer):
    """A tablet notices content that was changed after signing."""
    message = sign(b"the content", signer, attached=True)
    with pytest.raises(BadMessage):
        open_signed(message.replace(b"the content", b"The content"))


@given(st.binary(max_size=300), st.integers(min_value=0, max_value=2**70))
def test_der_reads_back_what_it_wrote(content, number):
    """Lengths and numbers of any size survive."""
    node = der.parse(der.sequence(der.octets(content), der.integer(number)))
    assert node.child(0, der.OCTET_STRING).content == content
    assert int.from_bytes(node.child(1, der.INTEGER).content, "big") == number
