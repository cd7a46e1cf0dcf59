"""How a tablet is put in place that is enrolled already: by values, without a word to the server.

For fleets of thousands, whose enrolment over the wire would take longer than what is to be seen of them.
"""

from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from simulator.tablets.cms import Signer
from simulator.tablets.enrolling import Enrollment
from simulator.tablets.profile import EnrollmentProfile
from simulator.tablets.scep import ScepPayload


@dataclass(frozen=True, slots=True)
class Papers:
    """What an enrolled tablet holds; the server must have the certificate's hash, the token and the magic on record."""

    url: str
    """The server's address for check-ins and commands."""
    topic: str
    certificate: bytes
    """DER."""
    key: RSAPrivateKey = field(repr=False)
    """May be shared: each tablet still has a certificate of its own."""
    token: bytes = field(repr=False)
    magic: str = field(repr=False)
    signs: bool = True
    """Sign each message; else a proxy must vouch for the tablet."""
    identifier: str = "tabane.enrollment"
    """Of the enrolment profile: a renewal must name the same."""
    access_rights: int = 8191
    epoch: int = 1

    def enrollment(self) -> Enrollment:
        """Return the enrolment that the tablet goes on with."""
        profile = EnrollmentProfile(
            identifier=self.identifier,
            topic=self.topic,
            server_url=self.url,
            check_in_url=self.url,
            access_rights=self.access_rights,
            sign_message=self.signs,
            check_out_when_removed=True,
            scep=ScepPayload(url=""),
        )
        signer = Signer(x509.load_der_x509_certificate(self.certificate), self.key)
        return Enrollment(profile, signer, token=self.token, magic=self.magic)
