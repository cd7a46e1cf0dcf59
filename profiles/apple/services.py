"""Social networks and mail: the sites of denied services, in a filter of their own.

Their applications go into the list of `restrictions`, so that a tablet has one list. The catalogue names them all.
"""

from profiles import catalogue
from profiles.apple.envelope import one
from profiles.apple.gates import Known, hindrance
from profiles.apple.web import DENY_LIST, WEB_FILTER, deny_list
from profiles.compiled import Artifact
from profiles.policy import pointer
from profiles.sections import Sections


def compile_services(effective: Sections, known: Known) -> list[Artifact]:
    """One filter with the sites of all denied services; a tablet lets pass what this and the other filters let pass."""
    services = catalogue.denied(effective.sns_mail)
    for service in services:
        if not service.bundle_ids and not service.entries:
            known.refuse(pointer("sns_mail", service.name), "the catalogue names nothing of it for iPadOS")
        elif service.entries:
            known.reaches(DENY_LIST, pointer("sns_mail", service.name))
    if hindrance(DENY_LIST, known.facts) is not None:
        return []
    entries = sorted({entry for service in services for entry in service.entries})
    return one("sns-mail-sites", WEB_FILTER, deny_list(tuple(entries), "/sns_mail", known))
