"""Plans: what documents would do to tablets before they do it, and the gate through which they are stored.

It computes with the code that does the work, in a savepoint that is rolled back; it reaches no tablet.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

from sqlmodel import Session

from mdm.audit import chain
from mdm.auth.principal import Principal
from mdm.errors import Conflict, Invalid
from mdm.settings import get_settings
from profiles import places, policies, targets
from profiles.changes import Change, changes
from profiles.consequences import Deletion, Finding, Gap, KeyChange, SchoolLoad, Severity, Weighed, weigh
from profiles.lint import Doubt, doubts
from profiles.policies import Action
from profiles.policy import PolicyDocument

MOST_CODES = 20


class Harmful(Conflict):
    """A lint stops this; it says which codes would have to be overridden."""

    slug = "lint-stops"


class Uncounted(Conflict):
    """Something would be taken away, and its exact count was not given."""

    slug = "deletion-count"


@dataclass(frozen=True, slots=True)
class Step:
    """What applying one document does, and whom it speaks to."""

    name: str
    layer: str
    action: Action
    revision: int
    """The revision it becomes, or already is."""
    changes: list[Change]
    tablets: int
    """Tablets of its layer, enrolled or not."""
    touched: int
    """Tablets of its layer that would hold something else once the whole file is rolled out."""
    warnings: list[Doubt]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a file would do once it is applied and rolled out to its layers."""

    steps: list[Step]
    touched: int
    cannot: list[Gap]
    keys: list[KeyChange]
    """The difference on the compiled side, key by key."""
    schools: list[SchoolLoad]
    lints: list[Finding]
    deletions: list[Deletion]
    deletes: int
    """Tablets from which something is taken away: the count that applying asks for."""
    hash: str
    """Names this outcome: applying with it fails if anything of it has changed."""


@dataclass(frozen=True, slots=True)
class Overrides:
    """Stops that somebody takes upon themselves, and why."""

    codes: Collection[str] = ()
    reason: str | None = None

    def checked(self) -> None:
        """Raise Invalid for an override without a reason."""
        if self.codes and not (self.reason or "").strip():
            detail = "say why the stop is overridden; it is recorded"
            raise Invalid("an override needs a reason", errors=[{"pointer": "/reason", "detail": detail}])

    def rows(self) -> list[dict[str, str]]:
        """As a revision keeps them."""
        return [{"code": code, "reason": (self.reason or "").strip()[:400]} for code in sorted(set(self.codes))]


NONE = Overrides()


def plan(session: Session, principal: Principal, documents: Sequence[PolicyDocument]) -> Plan:
    """Say what applying and rolling out these documents would change, and for how many tablets; writes nothing."""
    targets.serialise(session)
    found = [places.find(session, document.layer, principal.scope) for document in documents]
    members = [places.members(session, place, scope=principal.scope) for place in found]
    everyone = sorted({device for ids in members for device in ids})
    before = targets.groups(session, everyone)
    with policies.as_if_rolled_out(session, principal, documents) as written:
        after = targets.groups(session, everyone, strict=True)
    weighed = weigh(session, before, after, own_host())
    touched = {device for group in after if group.changes for device in group.device_ids}
    steps = [
        Step(
            name=document.name,
            layer=str(document.layer),
            action=each.action,
            revision=each.revision,
            changes=changes(each.before, document),
            tablets=len(ids),
            touched=len(touched.intersection(ids)),
            warnings=doubts(document.sections()),
        )
        for document, each, ids in zip(documents, written, members, strict=True)
    ]
    return _named(steps, len(touched), weighed, after)


def apply(
    session: Session,
    principal: Principal,
    documents: Sequence[PolicyDocument],
    *,
    expected: Mapping[str, int] | None = None,
    plan_hash: str | None = None,
    allow_delete: int | None = None,
    overrides: Overrides = NONE,
) -> list[policies.ShownPolicy]:
    """Store documents (`policies.apply`) if nothing stops it.

    Raises Conflict when the plan's hash is not today's, Uncounted when what it takes away is not `allow_delete`
    tablets, Harmful when a lint stops that `overrides` does not name, and Invalid for an override without a reason.
    """
    overrides.checked()
    found = plan(session, principal, documents)
    if plan_hash is not None and plan_hash != found.hash:
        raise Conflict("the world has changed since this plan was made; plan again")
    if any(step.action is not Action.UNCHANGED for step in found.steps):
        if found.deletes != (allow_delete or 0):
            raise Uncounted(f"{_losses(found)}; allow exactly {found.deletes}")
        refuse_harm(found.lints, overrides.codes, at=Severity.STOP)
    stored = policies.apply(session, principal, documents, expected=expected, overrides=overrides.rows())
    if overrides.codes:
        names = ", ".join(document.name for document in documents)
        record_overrides(session, principal, f"policy:{names}", overrides)
    return stored


def refuse_harm(found: Sequence[Finding], overridden: Collection[str], *, at: Severity) -> None:
    """Raise Harmful if a finding of this severity or a worse one is not overridden."""
    grades = (Severity.STOP,) if at is Severity.STOP else (Severity.STOP, Severity.ROLLOUT)
    stops = [each for each in found if each.severity in grades and each.code.value not in overridden]
    if stops:
        errors = [
            {"pointer": each.pointer, "detail": f"{each.code.value}: {each.detail} ({each.tablets} tablets)"}
            for each in stops[:MOST_CODES]
        ]
        codes = ", ".join(sorted({each.code.value for each in stops}))
        raise Harmful(f"this would do harm ({codes}); override each code with a reason if it is meant", errors=errors)


def record_overrides(session: Session, principal: Principal, subject: str, overrides: Overrides) -> None:
    """Put on record who overrode which stop, and why."""
    details = {"codes": sorted(set(overrides.codes)), "reason": (overrides.reason or "").strip()[:400]}
    chain.record(session, principal, "policy.override", subject[:200], details)


def own_host() -> str:
    """The host under which tablets reach this server."""
    return urlsplit(get_settings().public_url).hostname or ""


def _losses(found: Plan) -> str:
    what = ", ".join(f"{each.what} ({each.tablets} tablets)" for each in found.deletions[:5])
    return f"this takes something away from {found.deletes} tablets: {what}" if what else "this takes nothing away"


def _named(steps: list[Step], touched: int, weighed: Weighed, after: Sequence[targets.Group]) -> Plan:
    """Put a plan together; its hash covers all it says, and from which to which manifest tablets go."""
    moves: dict[str, int] = {}
    for group in after:
        move = f"{group.held.hex() if group.held else ''}>{group.wanted.sha256.hex()}"
        moves[move] = moves.get(move, 0) + len(group.device_ids)
    parts = (weighed.cannot, weighed.keys, weighed.schools, weighed.lints, weighed.deletions, weighed.deletes)
    body = {"steps": steps, "touched": touched, "weighed": parts, "moves": sorted(moves.items())}
    written = json.dumps(body, sort_keys=True, default=asdict)
    digest = hashlib.sha256(written.encode()).hexdigest()
    return Plan(steps, touched, *parts, digest)
