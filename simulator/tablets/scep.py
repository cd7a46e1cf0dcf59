"""The tablet's half of SCEP (RFC 8894): ask what the server can, fetch its certificate, post, check the answer.

The challenge and the address come from the enrolment profile's SCEP payload; nothing is retried with another key.
"""

import asyncio
import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, NameOID

from simulator.tablets.cms import BadMessage, Signer, certificates_in, open_signed, seal, sign, unseal
from simulator.tablets.der import octets, oid, printable
from simulator.web import Client, Response, Unreachable

_AGENT = {"User-Agent": "profiled/1.0 CFNetwork"}
_ATTRIBUTE = "2.16.840.1.113733.1.9."
MESSAGE_TYPE, PKI_STATUS, FAIL_INFO, SENDER_NONCE, RECIPIENT_NONCE, TRANSACTION_ID = (
    oid(f"{_ATTRIBUTE}{last}") for last in (2, 3, 4, 5, 6, 7)
)
_NAMES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
}


class ScepRefused(Exception):
    """The server would not issue: `fail_info` as it said, or empty where it did not speak SCEP."""

    def __init__(self, text: str, fail_info: str = "") -> None:
        super().__init__(text)
        self.fail_info = fail_info


@dataclass(frozen=True, slots=True)
class ScepPayload:
    """What a profile's `com.apple.security.scep` payload says; `subject` is the list of RDNs as it stands there."""

    url: str
    name: str = ""
    challenge: str | None = None
    subject: tuple[tuple[tuple[str, str], ...], ...] = ()
    key_size: int = 1024
    fingerprint: bytes | None = None
    retries: int = 3
    retry_delay: float = 10


async def obtain(
    client: Client, payload: ScepPayload, key: RSAPrivateKey, *, renews: Signer | None = None, lose_answer: bool = False
) -> Signer:
    """Get a certificate for `key`; with `renews` as a RenewalReq signed by that identity.

    With `lose_answer` the first answer is not read and the same transaction is sent again, as on a bad link.
    `ScepRefused` where the server says no, `Unreachable` where it says nothing.
    """
    caps = (await _get(client, payload, "GetCACaps")).body.decode("ascii", "replace").split()
    if "SHA-256" not in caps or "AES" not in caps or "POSTPKIOperation" not in caps:
        raise ScepRefused("the server does not offer what an iPad insists on")
    authority = await _authority(client, payload)
    request = Request(payload, key, authority, renews)
    if lose_answer:
        try:
            await _post(client, payload, request.body, abandon=True)
        except Unreachable:
            await asyncio.sleep(0.05)
    for attempt in range(payload.retries + 1):
        try:
            response = await _post(client, payload, request.body)
            break
        except Unreachable:
            if attempt == payload.retries:
                raise
            await asyncio.sleep(payload.retry_delay)
    if response.status != 200 or response.headers.get("content-type") != "application/x-pki-message":
        raise ScepRefused(f"PKIOperation was answered {response.status}")
    return request.read(response.body)


class Request:
    """One PKIOperation: the message to post, and how its answer is checked."""

    def __init__(
        self, payload: ScepPayload, key: RSAPrivateKey, authority: x509.Certificate, renews: Signer | None
    ) -> None:
        subject = _subject(payload)
        # Not the key's hash, as some clients have it: tablets of a large fleet may share keys.
        self.transaction = secrets.token_hex(32)
        self.nonce = secrets.token_bytes(16)
        self._key = key
        self._authority = authority
        self._signer = renews or Signer(_self_signed(subject, key), key)
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        if payload.challenge is not None:
            builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, payload.challenge.encode())
        csr = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.DER)
        self.body = sign(
            seal(csr, authority),
            self._signer,
            attached=True,
            attributes=(
                (MESSAGE_TYPE, printable("19" if renews is None else "17")),
                (TRANSACTION_ID, printable(self.transaction)),
                (SENDER_NONCE, octets(self.nonce)),
            ),
        )

    def read(self, message: bytes) -> Signer:
        """Check a CertRep and return the identity in it; `ScepRefused` or `BadMessage`."""
        answer = open_signed(message)
        if answer.signer != self._authority:
            raise BadMessage("the answer is signed by another certificate than GetCACert's")
        said = {name: node.content for name, node in answer.attributes.items()}
        if said.get(MESSAGE_TYPE) != b"3" or said.get(TRANSACTION_ID) != self.transaction.encode():
            raise BadMessage("the answer belongs to another transaction")
        if said.get(RECIPIENT_NONCE) != self.nonce or not said.get(SENDER_NONCE):
            raise BadMessage("the answer does not carry the request's nonce")
        if said.get(PKI_STATUS) != b"0":
            fail_info = said.get(FAIL_INFO, b"").decode("ascii", "replace")
            raise ScepRefused(f"pkiStatus {said.get(PKI_STATUS, b'').decode()}, failInfo {fail_info}", fail_info)
        issued = certificates_in(unseal(answer.content, self._signer.key))
        if not issued or issued[0].public_key() != self._key.public_key():
            raise BadMessage("the certificate is for another key")
        issued[0].verify_directly_issued_by(self._authority)
        return Signer(issued[0], self._key)


async def _authority(client: Client, payload: ScepPayload) -> x509.Certificate:
    response = await _get(client, payload, "GetCACert")
    if response.headers.get("content-type") != "application/x-x509-ca-cert":
        raise ScepRefused("GetCACert was answered with another content type than one certificate's")
    if payload.fingerprint is not None:
        digest = hashlib.sha1 if len(payload.fingerprint) == 20 else hashlib.sha256
        if digest(response.body).digest() != payload.fingerprint:
            raise ScepRefused("the server's certificate is not the one that the profile names")
    return x509.load_der_x509_certificate(response.body)


async def _get(client: Client, payload: ScepPayload, operation: str) -> Response:
    mark = "&" if "?" in payload.url else "?"
    message = f"&message={quote(payload.name)}" if payload.name and operation == "GetCACert" else ""
    response = await client.request("GET", f"{payload.url}{mark}operation={operation}{message}", headers=_AGENT)
    if response.status != 200:
        raise ScepRefused(f"{operation} was answered {response.status}")
    return response


async def _post(client: Client, payload: ScepPayload, body: bytes, *, abandon: bool = False) -> Response:
    mark = "&" if "?" in payload.url else "?"
    headers = _AGENT | {"Content-Type": "application/x-pki-message"}
    url = f"{payload.url}{mark}operation=PKIOperation"
    return await client.request("POST", url, headers=headers, body=body, abandon=abandon)


def _subject(payload: ScepPayload) -> x509.Name:
    return x509.Name(
        x509.RelativeDistinguishedName(
            x509.NameAttribute(_NAMES.get(name) or x509.ObjectIdentifier(name), value) for name, value in rdn
        )
        for rdn in payload.subject
    )


def _self_signed(subject: x509.Name, key: RSAPrivateKey) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
