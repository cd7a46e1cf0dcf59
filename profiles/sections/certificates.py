"""Certificate authorities that tablets trust, such as a filter's or a school network's."""

from typing import Annotated

from cryptography import x509
from pydantic import AfterValidator, Field

from profiles.sections.base import Part, Sorted, Switch, Text
from profiles.sections.merging import MergeRule


def _one_certificate(text: str) -> str:
    try:
        (certificate,) = x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise ValueError("not one certificate in PEM form (-----BEGIN CERTIFICATE-----)") from None
    if "PRIVATE KEY" in text:
        raise ValueError("a private key does not belong into a policy")
    del certificate
    return text.strip() + "\n"


class Authority(Part):
    """One certificate authority."""

    name: Text
    pem: Annotated[str, Field(max_length=20_000), AfterValidator(_one_certificate)]
    """The certificate alone, in PEM form."""

    @property
    def key(self) -> str:
        """What makes two entries one."""
        return self.name


class Certificates(Part):
    """Certificate authorities that tablets trust."""

    authorities: Annotated[
        tuple[Authority, ...] | None, Field(min_length=1, max_length=20), Sorted, MergeRule.UNION
    ] = None
    """Certificate authorities, besides those of the system."""
    changes: Switch = None
    """Adding and removing certificates by the person who holds the tablet."""
