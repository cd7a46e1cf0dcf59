"""SCEP messages (RFC 8894): read PKIOperation requests, write CertRep answers. Pure: no database, no clock, no policy.

It must not decide who gets a certificate. Anything that does not parse is `Malformed`.
"""

import base64
import binascii
import re
import secrets
from dataclasses import dataclass
from enum import Enum, IntEnum
from http import HTTPStatus
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import AttributeOID

from mdm.cms.certificates import UNREADABLE, Leaf, accepted_key
from mdm.cms.der import IA5_STRING, OCTET_STRING, PRINTABLE_STRING, UTF8_STRING, oid_content, tlv
from mdm.cms.enveloped import Cipher, decrypt, encrypt, parse_enveloped
from mdm.cms.signed import Signed, parse_signed
from mdm.cms.signing import degenerate, sign_attached
from mdm.errors import Malformed, MdmError

CAPABILITIES: Final = ("AES", "DES3", "POSTPKIOperation", "Renewal", "SCEPStandard", "SHA-1", "SHA-256")
"""What GetCACaps lists (RFC 8894 §3.5.2). iOS insists on an advertised SHA; SHA-1 is for clients of old defaults."""

MESSAGE_TYPE: Final = oid_content("2.16.840.1.113733.1.9.2")
PKI_STATUS: Final = oid_content("2.16.840.1.113733.1.9.3")
FAIL_INFO: Final = oid_content("2.16.840.1.113733.1.9.4")
SENDER_NONCE: Final = oid_content("2.16.840.1.113733.1.9.5")
RECIPIENT_NONCE: Final = oid_content("2.16.840.1.113733.1.9.6")
TRANSACTION_ID: Final = oid_content("2.16.840.1.113733.1.9.7")

_STRINGS: Final = (PRINTABLE_STRING, UTF8_STRING, IA5_STRING)
_CERT_REP: Final = "3"
_NONCE_SIZE: Final = 16


class MessageType(IntEnum):
    """What a client asks (RFC 8894 §3.2.1.2). UpdateReq is of older drafts and means the same as RenewalReq."""

    RENEWAL_REQ = 17
    UPDATE_REQ = 18
    PKCS_REQ = 19
    CERT_POLL = 20
    GET_CERT = 21
    GET_CRL = 22

    @property
    def renews(self) -> bool:
        """True where the signer is to be a certificate issued before."""
        return self in (MessageType.RENEWAL_REQ, MessageType.UPDATE_REQ)


class FailInfo(Enum):
    """Why a CertRep says FAILURE (RFC 8894 §3.2.1.4)."""

    BAD_ALGORITHM = "0"
    BAD_MESSAGE_CHECK = "1"
    BAD_REQUEST = "2"
    BAD_TIME = "3"
    BAD_CERTIFICATE = "4"


class Refused(MdmError):
    """A request that reads well and does not get a certificate; the client is told `fail_info` and nothing more."""

    status = HTTPStatus.FORBIDDEN
    slug = "scep-refused"

    def __init__(self, fail_info: FailInfo, detail: str) -> None:
        super().__init__(detail)
        self.fail_info = fail_info


@dataclass(frozen=True, slots=True)
class Message:
    """A PKIOperation whose outer signature holds; its envelope is still closed."""

    type: MessageType
    transaction_id: str
    sender_nonce: bytes
    signer: Leaf
    """Self-signed for the client's new key, or the old certificate when it renews. Not trusted yet."""
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """The signing request out of the envelope, with proof that its sender holds the key."""

    public_key: RSAPublicKey | EllipticCurvePublicKey
    spki: bytes
    """DER SubjectPublicKeyInfo: what a repeated transaction is compared by."""
    challenge: str | None
    cipher: Cipher
    """The client's content encryption."""


def decode_query(message: str) -> bytes:
    """Decode the `message` of a GET PKIOperation.

    Clients write either base64 alphabet, with or without padding, and a `+` may have become a space on its way.
    """
    text = re.sub(r"[\r\n]", "", message).replace(" ", "+").translate(str.maketrans("-_", "+/")).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise Malformed("The message is not base64.") from None


def parse(data: bytes) -> Message:
    """Parse a PKIOperation and verify its outer signature, SHA-1 included: GetCACaps lists it."""
    signed = parse_signed(data, allow_sha1=True)
    kind = _text(signed, MESSAGE_TYPE)
    if not re.fullmatch(r"1[789]|2[012]", kind):
        raise Malformed("The SCEP message is of a type that no client sends.")
    nonce = _value(signed, SENDER_NONCE, (OCTET_STRING,))
    transaction_id = _text(signed, TRANSACTION_ID)
    if not (0 < len(nonce) <= 64 and 0 < len(transaction_id) <= 128 and transaction_id.isprintable()):
        raise Malformed("The SCEP message has an impossible nonce or transaction identifier.")
    return Message(
        type=MessageType(int(kind)),
        transaction_id=transaction_id,
        sender_nonce=nonce,
        signer=signed.signer,
        envelope=signed.content,
    )


def open_request(
    message: Message, certificate: x509.Certificate, key: RSAPrivateKey, *, allow_des: bool = False
) -> Request:
    """Decrypt the envelope with the CA's `key` and read the signing request in it.

    Whatever goes wrong, the client gets the same `Refused`: a difference between bad padding, bad ASN.1 and a bad
    signature would be an oracle on envelopes captured from others. The signer's key need not be the request's: RFC 8894
    §2.3 only recommends it, and there are clients that sign with a throw-away key. The request proves its own.
    """
    if not isinstance(message.signer.public_key, RSAPublicKey):
        raise Refused(FailInfo.BAD_ALGORITHM, "Only an RSA certificate can receive the encrypted answer.")
    try:
        envelope = parse_enveloped(message.envelope, allow_des=True)
        if envelope.cipher is Cipher.DES and not allow_des:  # said aloud: anybody can see the cipher
            raise Refused(FailInfo.BAD_ALGORITHM, "Single DES is not accepted.")
        return _request(decrypt(envelope, certificate, key), envelope.cipher)
    except Malformed:
        raise Refused(FailInfo.BAD_MESSAGE_CHECK, "The envelope does not hold a valid signing request.") from None


def _request(der: bytes, cipher: Cipher) -> Request:
    try:
        csr = x509.load_der_x509_csr(der)
        key = accepted_key(csr.public_key())
        _must_prove(csr, key)
        challenge = csr.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD).value.decode()
    except x509.AttributeNotFound:
        challenge = None
    except UNREADABLE:
        raise Malformed("The signing request cannot be read.") from None
    return Request(public_key=key, spki=spki_of(key), challenge=challenge, cipher=cipher)


def _must_prove(csr: x509.CertificateSigningRequest, key: RSAPublicKey | EllipticCurvePublicKey) -> None:
    """Check that the request is signed by its own key; the library's own check refuses SHA-1, which we list."""
    digest = csr.signature_hash_algorithm
    if not isinstance(digest, hashes.SHA1 | hashes.SHA256 | hashes.SHA384 | hashes.SHA512):
        raise Malformed("The signing request uses a digest that is not accepted.")
    try:
        if isinstance(key, RSAPublicKey):
            key.verify(csr.signature, csr.tbs_certrequest_bytes, PKCS1v15(), digest)
        else:
            key.verify(csr.signature, csr.tbs_certrequest_bytes, ECDSA(digest))
    except InvalidSignature:
        raise Malformed("The signing request is not signed by its key.") from None


def spki_of(key: RSAPublicKey | EllipticCurvePublicKey) -> bytes:
    """Return the DER SubjectPublicKeyInfo of `key`."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def succeed(
    message: Message, request: Request, issued: bytes, *, certificate: x509.Certificate, key: RSAPrivateKey
) -> bytes:
    """Return the CertRep with the DER certificate `issued`, encrypted to the request's signer, signed by the CA."""
    # Nobody needs single DES in an answer: a client that can only send it reads AES well enough.
    cipher = Cipher.AES_128 if request.cipher is Cipher.DES else request.cipher
    envelope = encrypt(degenerate([issued]), message.signer.certificate, cipher)
    return _cert_rep(message, envelope, [(PKI_STATUS, _printable("0"))], certificate=certificate, key=key)


def refuse(message: Message, reason: FailInfo, *, certificate: x509.Certificate, key: RSAPrivateKey) -> bytes:
    """Return the CertRep that says FAILURE for `reason`; it carries no content (RFC 8894 §3.3.2.2)."""
    status = [(PKI_STATUS, _printable("2")), (FAIL_INFO, _printable(reason.value))]
    return _cert_rep(message, None, status, certificate=certificate, key=key)


def _cert_rep(
    message: Message,
    content: bytes | None,
    status: list[tuple[bytes, bytes]],
    *,
    certificate: x509.Certificate,
    key: RSAPrivateKey,
) -> bytes:
    attributes = [
        (MESSAGE_TYPE, _printable(_CERT_REP)),
        *status,
        (TRANSACTION_ID, _printable(message.transaction_id)),
        (SENDER_NONCE, tlv(OCTET_STRING, secrets.token_bytes(_NONCE_SIZE))),
        (RECIPIENT_NONCE, tlv(OCTET_STRING, message.sender_nonce)),
    ]
    return sign_attached(content, certificate, key, attributes=attributes)


def _printable(text: str) -> bytes:
    """Return `text` as PrintableString; a client's odd transaction identifier goes back as UTF8String."""
    tag = PRINTABLE_STRING if re.fullmatch(r"[A-Za-z0-9 '()+,./:=?-]*", text) else UTF8_STRING
    return tlv(tag, text.encode())


def _text(signed: Signed, identifier: bytes) -> str:
    try:
        return _value(signed, identifier, _STRINGS).decode("ascii")
    except UnicodeDecodeError:
        raise Malformed("The SCEP message has an attribute that is not text.") from None


def _value(signed: Signed, identifier: bytes, tags: tuple[int, ...]) -> bytes:
    """Return the content of a signed attribute that must be there with one value of one of `tags`."""
    values = signed.attribute(identifier)
    if values is None or values.peek() not in tags:
        raise Malformed("The SCEP message lacks an attribute.")
    value = values.take(values.peek())
    values.close()
    return value
