"""Social networks and mail: what the catalogue names for each denied service. It names no service itself."""

from profiles import catalogue
from profiles.android.draft import Draft
from profiles.policy import pointer
from profiles.sections import Sections


def write(effective: Sections, draft: Draft) -> list[str]:
    """Block the packages of every denied service; return its domains, in order, for the web filter."""
    services = catalogue.denied(effective.sns_mail)
    for service in services:
        if not service.packages and not service.domains:
            draft.lacks(pointer("sns_mail", service.name), "the catalogue names nothing of it for Android")
        for package in service.packages:
            draft.install(package, "BLOCKED")
    return sorted({domain for service in services for domain in service.domains})
