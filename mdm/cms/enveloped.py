"""EnvelopedData (RFC 5652 §6) with RSA key transport and CBC content encryption, as SCEP clients speak it.

It must not tell anyone why a message did not open: every failure after parsing is the same `Malformed`, and a wrong key
is replaced by a random one, so that neither the key transport nor the padding becomes an oracle (RFC 3218).
"""

import secrets
from dataclasses import dataclass
from enum import Enum

from cryptography import x509
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.ciphers import Cipher as Engine
from cryptography.hazmat.primitives.ciphers import modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.serialization import Encoding

from mdm.cms import oids
from mdm.cms.ber import tolerant
from mdm.cms.certificates import sid_of
from mdm.cms.der import (
    CONTEXT_0,
    IMPLICIT_0,
    INTEGER,
    NULL,
    OBJECT_IDENTIFIER,
    OCTET_STRING,
    SEQUENCE,
    SET,
    Reader,
    integer,
    oid,
    sequence,
    set_of,
    tlv,
)
from mdm.cms.signed import MAX_MESSAGE
from mdm.errors import Malformed

MAX_RECIPIENTS = 16
MAX_ENCRYPTED_KEY = 1024


class Cipher(Enum):
    """A content encryption: identifier, key size and block size in octets."""

    AES_128 = (oids.AES_128_CBC, 16, 16)
    AES_256 = (oids.AES_256_CBC, 32, 16)
    DES3 = (oids.DES_EDE3_CBC, 24, 8)
    DES = (oids.DES_CBC, 8, 8)

    @property
    def identifier(self) -> bytes:
        """Content octets of the object identifier."""
        return self.value[0]

    @property
    def key_size(self) -> int:
        """Octets of the key."""
        return self.value[1]

    @property
    def block_size(self) -> int:
        """Octets of a block and of the initialisation vector."""
        return self.value[2]

    def engine(self, key: bytes, vector: bytes) -> Engine[modes.CBC]:
        """Return the cipher in CBC mode. Single DES is triple DES with one key three times."""
        if self in (Cipher.AES_128, Cipher.AES_256):
            return Engine(AES(key), modes.CBC(vector))
        return Engine(TripleDES(key * (24 // len(key))), modes.CBC(vector))


_BY_IDENTIFIER = {cipher.identifier: cipher for cipher in Cipher}


@dataclass(frozen=True, slots=True)
class Enveloped:
    """A parsed, still closed EnvelopedData."""

    recipients: tuple[tuple[bytes, bytes], ...]
    """Issuer and serial number of each RSA recipient, and the key encrypted to it."""
    cipher: Cipher
    vector: bytes
    ciphertext: bytes


def parse_enveloped(data: bytes, *, allow_des: bool = False) -> Enveloped:
    """Parse an EnvelopedData of DER or BER.

    Single DES is refused unless `allow_des`: some SCEP client libraries still know nothing else.
    """
    envelope = tolerant(_parse, data, limit=MAX_MESSAGE)
    if envelope.cipher is Cipher.DES and not allow_des:
        raise Malformed("The message uses an encryption that is not accepted.")
    return envelope


def decrypt(envelope: Enveloped, certificate: x509.Certificate, key: RSAPrivateKey) -> bytes:
    """Return the content encrypted to `certificate`, whose private key is `key`; else one `Malformed` for all causes.

    A wrong key may by chance give well-padded rubbish (RFC 3218): the caller must treat what does not parse alike.
    """
    sid = sid_of(certificate.public_bytes(Encoding.DER))
    encrypted = next((blob for recipient, blob in envelope.recipients if recipient == sid), b"")
    content_key = secrets.token_bytes(envelope.cipher.key_size)
    try:
        found = key.decrypt(encrypted, PKCS1v15())
    except ValueError:
        found = b""
    if len(found) == envelope.cipher.key_size:
        content_key = found
    decryptor = envelope.cipher.engine(content_key, envelope.vector).decryptor()
    unpadder = padding.PKCS7(envelope.cipher.block_size * 8).unpadder()
    try:
        padded = decryptor.update(envelope.ciphertext) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()
    except ValueError:
        raise Malformed("The message cannot be opened.") from None


def encrypt(content: bytes, certificate: x509.Certificate, cipher: Cipher = Cipher.AES_256) -> bytes:
    """Return an EnvelopedData of `content` for the RSA key of `certificate`."""
    public_key = certificate.public_key()
    if not isinstance(public_key, RSAPublicKey):
        raise Malformed("Only an RSA certificate can receive an encrypted message.")
    key = secrets.token_bytes(cipher.key_size)
    vector = secrets.token_bytes(cipher.block_size)
    padder = padding.PKCS7(cipher.block_size * 8).padder()
    encryptor = cipher.engine(key, vector).encryptor()
    ciphertext = encryptor.update(padder.update(content) + padder.finalize()) + encryptor.finalize()
    recipient = sequence(
        integer(0),
        tlv(SEQUENCE, sid_of(certificate.public_bytes(Encoding.DER))),
        sequence(oid(oids.RSA_ENCRYPTION), NULL),
        tlv(OCTET_STRING, public_key.encrypt(key, PKCS1v15())),
    )
    encrypted = sequence(
        oid(oids.DATA),
        sequence(oid(cipher.identifier), tlv(OCTET_STRING, vector)),
        tlv(IMPLICIT_0, ciphertext),
    )
    body = sequence(integer(0), set_of(recipient), encrypted)
    return sequence(oid(oids.ENVELOPED_DATA), tlv(CONTEXT_0, body))


def _parse(data: bytes) -> Enveloped:
    outer = Reader(data)
    info = outer.enter(SEQUENCE)
    outer.close()
    if info.take(OBJECT_IDENTIFIER) != oids.ENVELOPED_DATA:
        raise Malformed("The message is not EnvelopedData.")
    body = info.enter(CONTEXT_0).enter(SEQUENCE)
    body.skip(INTEGER)
    if body.peek() == CONTEXT_0:  # originatorInfo
        body.skip()
    recipients = _recipients(body.enter(SET))
    encrypted = body.enter(SEQUENCE)
    encrypted.skip(OBJECT_IDENTIFIER)
    algorithm = encrypted.enter(SEQUENCE)
    cipher = _BY_IDENTIFIER.get(algorithm.take(OBJECT_IDENTIFIER))
    if cipher is None:
        raise Malformed("The message uses an encryption that is not accepted.")
    vector = algorithm.take(OCTET_STRING)
    ciphertext = _implicit_octets(encrypted)
    if len(vector) != cipher.block_size or not ciphertext or len(ciphertext) % cipher.block_size:
        raise Malformed("The message's encrypted content has an impossible size.")
    return Enveloped(recipients=recipients, cipher=cipher, vector=vector, ciphertext=ciphertext)


def _recipients(infos: Reader) -> tuple[tuple[bytes, bytes], ...]:
    found: list[tuple[bytes, bytes]] = []
    while infos.peek() != -1:
        if infos.peek() != SEQUENCE:  # key agreement, key-encryption key and the like: not for us
            infos.skip()
            continue
        recipient = infos.enter(SEQUENCE)
        recipient.skip(INTEGER)
        if recipient.peek() != SEQUENCE:  # by subject key identifier: SCEP names issuer and serial number
            continue
        sid = recipient.take(SEQUENCE)
        algorithm = recipient.enter(SEQUENCE).take(OBJECT_IDENTIFIER)
        blob = recipient.take(OCTET_STRING)
        if algorithm == oids.RSA_ENCRYPTION and len(blob) <= MAX_ENCRYPTED_KEY:
            found.append((sid, blob))
        if len(found) > MAX_RECIPIENTS:
            raise Malformed("The message has too many recipients.")
    return tuple(found)


def _implicit_octets(encrypted: Reader) -> bytes:
    """Read `[0] IMPLICIT OCTET STRING`, primitive, or constructed as streaming writers leave it."""
    if encrypted.peek() != CONTEXT_0:
        return encrypted.take(IMPLICIT_0)
    parts = encrypted.enter(CONTEXT_0)
    chunks: list[bytes] = []
    while parts.peek() != -1:
        chunks.append(parts.take(OCTET_STRING))
    return b"".join(chunks)
