"""SignedData (RFC 5652 §5), writing: attached signatures and certs-only messages. `mdm.cms.signed` reads."""

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from mdm.cms import oids
from mdm.cms.certificates import sid_of
from mdm.cms.der import CONTEXT_0, NULL, OCTET_STRING, SEQUENCE, integer, oid, sequence, set_of, tlv


def degenerate(certificates: Sequence[bytes]) -> bytes:
    """Return a SignedData without signers that carries DER `certificates` in this order ("certs-only")."""
    signed = sequence(integer(1), set_of(), sequence(oid(oids.DATA)), tlv(CONTEXT_0, *certificates), set_of())
    return sequence(oid(oids.SIGNED_DATA), tlv(CONTEXT_0, signed))


def sign_attached(
    content: bytes | None,
    certificate: x509.Certificate,
    key: RSAPrivateKey | EllipticCurvePrivateKey,
    *,
    attributes: Sequence[tuple[bytes, bytes]] = (),
    certificates: Sequence[bytes] = (),
) -> bytes:
    """Return a SignedData over `content`, signed with SHA-256 by `key`; it carries `certificate` and `certificates`.

    `attributes` are further signed attributes: content octets of the identifier, TLV of its one value. With `content`
    None nothing is attached and the digest is that of nothing, which is how SCEP writes a refusal (RFC 8894 §3.3.2).
    """
    der = certificate.public_bytes(Encoding.DER)
    digest = hashlib.sha256(content or b"").digest()
    signed_attributes = set_of(
        *(
            sequence(oid(identifier), set_of(value))
            for identifier, value in (
                (oids.CONTENT_TYPE, oid(oids.DATA)),
                (oids.MESSAGE_DIGEST, tlv(OCTET_STRING, digest)),
                *attributes,
            )
        )
    )
    if isinstance(key, RSAPrivateKey):
        algorithm = sequence(oid(oids.RSA_ENCRYPTION), NULL)
        signature = key.sign(signed_attributes, PKCS1v15(), hashes.SHA256())
    else:
        algorithm = sequence(oid(oids.ECDSA_SHA256))
        signature = key.sign(signed_attributes, ECDSA(hashes.SHA256()))
    info = sequence(
        integer(1),
        tlv(SEQUENCE, sid_of(der)),
        sequence(oid(oids.SHA256)),
        b"\xa0" + signed_attributes[1:],
        algorithm,
        tlv(OCTET_STRING, signature),
    )
    attached = b"" if content is None else tlv(CONTEXT_0, tlv(OCTET_STRING, content))
    signed = sequence(
        integer(1),
        set_of(sequence(oid(oids.SHA256))),
        sequence(oid(oids.DATA), attached),
        tlv(CONTEXT_0, der, *certificates),
        set_of(info),
    )
    return sequence(oid(oids.SIGNED_DATA), tlv(CONTEXT_0, signed))
