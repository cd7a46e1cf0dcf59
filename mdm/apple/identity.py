"""Who is at the door: `Mdm-Signature` (CMS over the body) or RFC 9440 `Client-Cert` from a trusted proxy.

All seven steps of reference Apple §1.5 but the last: whose certificate it is, the exchange asks of the tables. Only
`Malformed` and `Untrusted` come out, which the door answers with 400; a 401 would make the tablet unenrol.
"""

import binascii
import hashlib
import ipaddress
import math
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from time import monotonic
from typing import Final

from cryptography import x509

from mdm import clock
from mdm.cms import signed
from mdm.cms.certificates import Untrusted, verify_chain
from mdm.errors import Malformed

_REFRESH_SECONDS: Final = 60.0
_RETRY_SECONDS: Final = 1.0
_KNOWN: Final = 32_768


@dataclass(slots=True)
class Authorities:
    """The device CA's certificates as this process knows them; `load` reads them, DER, all that are on record."""

    load: Callable[[], Awaitable[Sequence[bytes]]]
    certificates: tuple[x509.Certificate, ...] = ()
    read_at: float = field(default=-math.inf)

    @property
    def are_stale(self) -> bool:
        """Whether it is time to read them again."""
        return monotonic() - self.read_at >= _REFRESH_SECONDS

    async def refresh(self, *, older_than: float = _REFRESH_SECONDS) -> bool:
        """Read again what is older than `older_than` seconds; say whether anything changed."""
        before = self.read_at
        if monotonic() - before < older_than:
            return False
        if self.certificates:  # whoever comes meanwhile works with what there is
            self.read_at = monotonic()
        try:
            fresh = tuple(x509.load_der_x509_certificate(der) for der in await self.load())
        except BaseException:
            self.read_at = before
            raise
        changed = fresh != self.certificates
        self.certificates, self.read_at = fresh, monotonic()
        return changed


Headers = Iterable[tuple[bytes, bytes]]


@lru_cache(maxsize=4096)
def _believed(peer: str, proxies: tuple[str, ...]) -> bool:
    try:
        address = ipaddress.ip_address(peer)
    except ValueError:
        return False
    return any(address in ipaddress.ip_network(proxy, strict=False) for proxy in proxies)


class Doorkeeper:
    """Checks certificates and signatures; remembers which certificates chain to us, until they expire."""

    def __init__(self, authorities: Authorities, proxies: tuple[str, ...]) -> None:
        self._authorities = authorities
        self._proxies = proxies
        self._chained: dict[bytes, tuple[float, float]] = {}

    async def identify(self, headers: Headers, peer: str, body: bytes) -> bytes:
        """Return the SHA-256 of the certificate that speaks for this request; `Malformed` or `Untrusted`.

        `Client-Cert` counts only from a proxy of the settings, once. Where both are given, both must hold and agree.
        """
        signature: bytes | None = None
        certificate: bytes | None = None
        for name, value in headers:
            if name == b"mdm-signature":
                if signature is not None:
                    raise Malformed("The request has more than one Mdm-Signature.")
                signature = value
            elif name == b"client-cert" and self._proxies and _believed(peer, self._proxies):
                if certificate is not None:
                    raise Malformed("The request has more than one Client-Cert.")
                certificate = value
        if signature is None and certificate is None:
            raise Malformed("The request has no Mdm-Signature.")
        thumbprint = b""
        if certificate is not None:
            der = from_client_cert(certificate)
            thumbprint = hashlib.sha256(der).digest()
            await self._chain(der, thumbprint)
        if signature is not None:
            # SHA-1 is what older clients' libraries sign with. A forger would need a second preimage of a tablet's own
            # words, which collisions of SHA-1 do not give.
            leaf = signed.verify_detached(signed.from_header(signature), body, allow_sha1=True)
            if thumbprint and leaf.thumbprint != thumbprint:
                raise Untrusted("Client-Cert and Mdm-Signature do not agree.")
            thumbprint = leaf.thumbprint
            await self._chain(leaf.der, thumbprint)
        return thumbprint

    async def _chain(self, der: bytes, thumbprint: bytes) -> None:
        now = clock.now()
        at = now.timestamp()
        known = self._chained.get(thumbprint)
        if (
            known is not None
            and known[0] <= at <= known[1]
            and monotonic() - self._authorities.read_at < _REFRESH_SECONDS
        ):
            return
        if await self._authorities.refresh():
            self._chained.clear()
        try:
            authority = verify_chain(der, self._authorities.certificates, at=now)
        except Untrusted:
            # Perhaps a CA that another process made a moment ago.
            if not await self._authorities.refresh(older_than=_RETRY_SECONDS):
                raise
            authority = verify_chain(der, self._authorities.certificates, at=now)
        if not authority.not_valid_before_utc <= now <= authority.not_valid_after_utc:
            raise Untrusted("The certificate's CA is not valid now.")
        certificate = x509.load_der_x509_certificate(der)
        if len(self._chained) >= _KNOWN:
            self._chained.clear()
        self._chained[thumbprint] = (
            certificate.not_valid_before_utc.timestamp(),
            min(certificate.not_valid_after_utc, authority.not_valid_after_utc).timestamp(),
        )


def from_client_cert(value: bytes) -> bytes:
    """Decode RFC 9440 §2.1: a structured-field byte sequence, colon, base64 of the DER, colon."""
    value = value.strip()
    if len(value) < 3 or value[:1] != b":" or value[-1:] != b":" or len(value) > signed.MAX_HEADER:
        raise Malformed("Client-Cert is not an RFC 9440 byte sequence.")
    try:
        return binascii.a2b_base64(value[1:-1], strict_mode=True)
    except (binascii.Error, ValueError):
        raise Malformed("Client-Cert is not base64.") from None
