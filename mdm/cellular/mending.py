"""Make the ledger say what a finding says, in one step: exchange a swapped pair, bind a SIM where it is in fact.

Only where the ledger is wrong and the SIM is in a tablet of ours. It asks carriers and tablets for nothing.
"""

from collections.abc import Callable
from typing import Final

from sqlmodel import Session

from mdm.audit import chain
from mdm.auth import Principal
from mdm.cellular import bindings, finding_views, findings
from mdm.cellular.bindings import Word
from mdm.cellular.finding_views import LIVE, Found
from mdm.cellular.findings import Kind
from mdm.cellular.models import BindingSource
from mdm.devices import search
from mdm.errors import Conflict

_CHANGED: Final = "the ledger has changed since; the next reconciliation looks again"


def fix(session: Session, principal: Principal, finding_id: int, *, reason: str) -> Found:
    """Do it, and close the finding. Both tablets must be in scope: `NotFound` otherwise.

    `Conflict` for kinds that have no such step, for what is over, and where the ledger has changed since.
    """
    found = finding_views.one(session, principal, finding_id)
    step = _STEPS.get(Kind(found.kind)) if found.kind in set(Kind) else None
    if step is None:
        raise Conflict(f"there is no step that mends this ({found.kind}): see to it, and close the finding")
    if found.state not in LIVE:
        raise Conflict(f"the finding is {found.state.value} already")
    for device_id in (found.device_id, found.details.get("other_device_id")):
        if device_id is not None:
            search.one(session, principal.scope, device_id)
    what = step(session, found, Word(principal.actor, BindingSource.EXCHANGE, reason.strip()))
    chain.record(session, principal, "sim_finding.fix", f"sim_finding:{found.id}", {"kind": found.kind, "by": what})
    findings.close(session, principal.actor, found.id, reason=f"{what}: {reason.strip()}", quiet_days=0)
    return finding_views.one(session, principal, finding_id)


def _exchange(session: Session, found: Found, word: Word) -> str:
    mine, its = _there(found)
    other_sim = found.details.get("other_sim_id")
    if not (_holds(session, mine, found.sim_id) and _holds(session, its, other_sim)):
        raise Conflict(_CHANGED)
    bindings.exchange(session, mine, its, word)
    return "exchanged"


def _move(session: Session, found: Found, word: Word) -> str:
    mine, its = _there(found)
    if not _holds(session, mine, found.sim_id):
        raise Conflict(_CHANGED)
    if bindings.of_device(session, its) is not None:
        raise Conflict(
            "the other tablet has a SIM of its own in the ledger: say where that one is first (unbind it, or exchange)"
        )
    bindings.hand_over(session, mine, its, word)
    return "handed over"


def _bind(session: Session, found: Found, word: Word) -> str:
    where = found.details.get("other_device_id")
    if where is None or found.sim_id is None:
        raise Conflict("nobody says which tablet it is in: bind it yourself, or see to it and close the finding")
    bindings.bind(session, found.sim_id, where, word)
    return "bound"


def _there(found: Found) -> tuple[int, int]:
    other = found.details.get("other_device_id")
    if found.device_id is None or other is None:
        raise Conflict(_CHANGED)
    return found.device_id, other


def _holds(session: Session, device_id: int, sim_id: int | None) -> bool:
    bound = bindings.of_device(session, device_id)
    return bound is not None and bound.sim_id == sim_id


_STEPS: Final[dict[Kind, Callable[[Session, Found, Word], str]]] = {
    Kind.SWAPPED_PAIR: _exchange,
    Kind.IN_OTHER_TABLET: _move,
    Kind.NOT_IN_LEDGER: _bind,
}
