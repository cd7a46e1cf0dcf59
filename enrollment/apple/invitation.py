"""How an iPad is invited: a ticket's secret becomes an enrolment profile. Fits `enrollment.invitations.Inviter`."""

from functools import lru_cache
from pathlib import Path

from cryptography import x509
from sqlmodel import Session

from enrollment import ca
from enrollment.apple import profile
from enrollment.ca import Admission
from mdm.errors import Misconfigured
from mdm.settings import get_settings

MEDIA_TYPE = profile.MEDIA_TYPE
FILE_NAME = "enroll.mobileconfig"
DOOR = "/enroll/apple"
"""Where a tablet fetches its profile: the secret follows after a slash."""


def url_of(secret: str) -> str:
    """Return the address at which a tablet fetches its profile; it is as secret as the ticket."""
    return f"{_public_url()}{DOOR}/{secret}"


def body_of(session: Session, admission: Admission, secret: str) -> bytes:
    """Return the enrolment profile of one ticket; signed by the device CA where the setting says so."""
    settings = get_settings()
    authority = ca.signing(session)
    made = profile.enrollment_profile(
        profile.Facts(
            organization=settings.organization,
            public_url=_public_url(),
            topic=push_topic(),
            challenge=secret,
            common_name=admission.name,
            ca=authority.certificate,
        )
    )
    return profile.signed(made, authority.certificate, authority.key) if settings.apple.sign_profiles else made


def push_topic() -> str:
    """Return the push topic that every enrolment profile names. `Misconfigured` without a push certificate."""
    path = get_settings().apple.push_certificate
    if path is None:
        raise Misconfigured("setting apple.push_certificate: an enrolment profile needs the push certificate's topic")
    try:
        return _topic_in(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise Misconfigured(f"setting apple.push_certificate: {path}: {error.strerror}") from None


@lru_cache(maxsize=2)
def _topic_in(path: Path, _changed: int) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(path.read_bytes())
    except ValueError:
        raise Misconfigured(f"setting apple.push_certificate: {path} holds no PEM certificate") from None
    return profile.topic_of(certificate)


def _public_url() -> str:
    return get_settings().public_url.rstrip("/")
