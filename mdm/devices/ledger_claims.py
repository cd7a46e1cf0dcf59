"""What only one tablet may have: its serial, its IMEI, its SIM, and its holder. Finds the lines that take it twice.

Pure. A line that is refused gives back what its tablet had, which may refuse further lines; each is looked at once.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping

from mdm.devices.identifiers import iccid_key, imei_key
from mdm.devices.ledger_entry import Fault
from mdm.devices.ledger_values import Ledger, Proposal, Tablet

Claim = tuple[str, str]
"""A kind of thing and which one."""

_SAID = {
    "serial": "the serial number",
    "imei": "the IMEI",
    "iccid": "the ICCID",
    "holder": "the user id (one tablet in use per holder)",
}


def claims_of(tablet: Tablet) -> Iterator[Claim]:
    """Yield what a tablet has for itself alone.

    A holder keeps a lost, broken or returned tablet on record beside the one in use.
    """
    yield "serial", tablet.serial
    if tablet.imei:
        yield "imei", imei_key(tablet.imei)
    if tablet.iccid:
        yield "iccid", iccid_key(tablet.iccid)
    if tablet.user_id and tablet.in_use:
        yield "holder", tablet.user_id


def weed(ledger: Ledger, proposals: Mapping[str, Proposal]) -> list[Fault]:
    """Return a fault for each line that claims what stays with another tablet or what an earlier line claims."""
    holders_of: dict[Claim, set[str]] = defaultdict(set)
    for number, standing in ledger.tablets.items():
        if number not in proposals:
            for claim in claims_of(standing.tablet):
                holders_of[claim].add(number)
    for number, proposal in proposals.items():
        for claim in claims_of(proposal.tablet):
            holders_of[claim].add(number)
    refused: dict[str, Fault] = {}
    pending = [claim for claim, numbers in holders_of.items() if len(numbers) > 1]
    while pending:
        claim = pending.pop()
        for number, fault in _blamed(claim, holders_of[claim], ledger, proposals, refused):
            refused[number] = fault
            for given_up in claims_of(proposals[number].tablet):
                holders_of[given_up].discard(number)
            before = ledger.tablets.get(number)
            for kept in claims_of(before.tablet) if before is not None else ():
                holders_of[kept].add(number)
                if len(holders_of[kept]) > 1:
                    pending.append(kept)
    return list(refused.values())


def _blamed(
    claim: Claim,
    numbers: set[str],
    ledger: Ledger,
    proposals: Mapping[str, Proposal],
    refused: Mapping[str, Fault],
) -> list[tuple[str, Fault]]:
    """Return the tablets of one claim that have to do without it, with what to say to their lines."""
    newcomers: list[str] = []
    owners: list[str] = []
    for number in numbers:
        standing = ledger.tablets.get(number)
        had_it = standing is not None and claim in claims_of(standing.tablet)
        (owners if had_it else newcomers).append(number)
    newcomers = sorted((n for n in newcomers if n not in refused), key=lambda n: proposals[n].entry.line)
    if not owners:
        owners, newcomers = newcomers[:1], newcomers[1:]
    if not newcomers:
        return []
    owner = min(owners)
    reason = _reason(claim, owner, ledger, None if owner in refused else proposals.get(owner))
    return [(number, Fault(proposals[number].entry.line, reason)) for number in newcomers]


def _reason(claim: Claim, owner: str, ledger: Ledger, proposal: Proposal | None) -> str:
    said = _SAID[claim[0]]
    if proposal is not None:
        return f"{said} is on line {proposal.entry.line} too"
    school = ledger.tablets[owner].tablet.school_code
    if ledger.allowed is not None and school not in ledger.allowed:
        return f"{said} is on another tablet already"
    return f"{said} is on tablet {owner} already"
