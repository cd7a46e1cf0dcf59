"""Policies in the database: store, show. A revision is never changed, and storing one reaches no tablet.

What reaches tablets is a rollout (`rollouts.start`).
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import text
from sqlmodel import Session, col, select

from mdm import clock
from mdm.audit import chain
from mdm.auth.principal import SCOPE_SQL, Principal, Scope
from mdm.errors import Conflict, Forbidden, NotFound
from profiles import places, sealing, targets
from profiles.models import Layer as LayerColumn
from profiles.models import Policy, PolicyRevision, Rollout, RolloutState
from profiles.policy import PolicyDocument


class Action(StrEnum):
    """What applying a document does to its policy."""

    NEW = "new"
    CHANGED = "changed"
    UNCHANGED = "unchanged"


@dataclass(frozen=True, slots=True)
class ShownPolicy:
    """One revision of one policy."""

    name: str
    layer: str
    revision: int
    latest: int
    released: int | None
    document: dict[str, Any]
    created_at: datetime
    created_by: str | None


@dataclass(frozen=True, slots=True)
class Written:
    """One document as stored, or as it would be."""

    policy: Policy
    place: places.Place
    action: Action
    revision: int
    before: PolicyDocument | None


@contextmanager
def as_if_rolled_out(
    session: Session, principal: Principal, documents: Sequence[PolicyDocument]
) -> Iterator[list[Written]]:
    """For the block, let the database look as if these documents had been stored and rolled out to their layers.

    A savepoint that is rolled back, so that a plan is computed by the code that does the work. Raises as `apply` does.
    """
    with session.begin_nested() as trial:
        written = [_write(session, principal, document) for document in documents]
        for each in written:
            _release(session, each)
        session.flush()
        yield written
        trial.rollback()


def apply(
    session: Session,
    principal: Principal,
    documents: Sequence[PolicyDocument],
    *,
    expected: Mapping[str, int] | None = None,
    overrides: Sequence[Mapping[str, str]] = (),
) -> list[ShownPolicy]:
    """Store each document that differs as a new revision of its policy; all of them or none. Nothing stops it here.

    `expected` holds the revision numbers that a plan showed; Conflict if someone else was faster. Raises Forbidden,
    NotFound (a layer not in the ledger or outside scope) and Conflict (a policy would move, or its place is taken).
    """
    targets.serialise(session)
    stored = []
    for document in documents:
        written = _write(session, principal, document, overrides=overrides)
        if expected and expected.get(document.name, written.revision) != written.revision:
            raise Conflict(f"policy `{document.name}` was changed since the plan was made; plan again")
        stored.append(show(session, principal, document.name))
        if written.action is not Action.UNCHANGED:
            details = {"revision": written.revision, "layer": str(document.layer)}
            chain.record(session, principal, "policy.apply", f"policy:{document.name}", details)
    return stored


def show(session: Session, principal: Principal, name: str, revision: int | None = None) -> ShownPolicy:
    """Return one revision of a policy, the latest by default; NotFound also when its layer is outside scope."""
    found = _shown(session, principal.scope, name=name)
    wanted = [shown for shown in found if shown.revision == (revision or shown.latest)]
    if not wanted:
        raise NotFound(f"there is no policy `{name}`" + (f" with a revision {revision}" if found else ""))
    return wanted[0]


def overview(session: Session, principal: Principal) -> list[ShownPolicy]:
    """Return the latest revision of every policy in scope, widest layer first, then by name."""
    return [shown for shown in _shown(session, principal.scope) if shown.revision == shown.latest]


def history(session: Session, principal: Principal, name: str) -> list[ShownPolicy]:
    """Return all revisions of a policy, newest first."""
    found = _shown(session, principal.scope, name=name)
    if not found:
        raise NotFound(f"there is no policy `{name}`")
    return sorted(found, key=lambda shown: -shown.revision)


def find(session: Session, scope: Scope, name: str) -> Policy:
    """Return a policy's row; NotFound when it is not there or not in scope."""
    if not visible(session, scope, name):
        raise NotFound(f"there is no policy `{name}`")
    return session.exec(select(Policy).where(Policy.name == name)).one()


def visible(session: Session, scope: Scope, name: str) -> bool:
    """Say whether a policy of this name is in scope."""
    return bool(_shown(session, scope, name=name))


def place_of(session: Session, policy: Policy) -> places.Place:
    """The place a stored policy speaks for."""
    row = session.execute(
        text(
            "SELECT coalesce(p.school_id, c.school_id, d.school_id) FROM policy p"
            " LEFT JOIN school_class c ON c.id = p.class_id LEFT JOIN device d ON d.id = p.device_id WHERE p.id = :id"
        ),
        {"id": policy.id},
    ).one()
    return places.Place(LayerColumn(policy.layer), policy.school_id, policy.class_id, policy.device_id, row[0])


def _write(
    session: Session, principal: Principal, document: PolicyDocument, *, overrides: Sequence[Mapping[str, str]] = ()
) -> Written:
    place = places.find(session, document.layer, principal.scope)
    if place.layer is LayerColumn.FLEET and not principal.scope.all_schools:
        raise Forbidden("a policy of the fleet is for operators of all schools")
    policy = session.exec(select(Policy).where(Policy.name == document.name)).first()
    if policy is None:
        policy = _found(session, document, place)
        latest = None
    else:
        if place_of(session, policy) != place:
            raise Conflict(f"policy `{document.name}` speaks for another layer; a policy does not move")
        latest = session.exec(
            select(PolicyRevision)
            .where(PolicyRevision.policy_id == policy.id)
            .order_by(col(PolicyRevision.number).desc())
            .limit(1)
        ).first()
    assert policy.id is not None
    before = sealing.opened(latest.document) if latest else None
    if latest is not None and before == document:
        return Written(policy, place, Action.UNCHANGED, latest.number, before)
    number = latest.number + 1 if latest else 1
    # The digest is over the sealed form: it names the row, and nobody can try passwords on it.
    body = sealing.sealed(document)
    digest = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).digest()
    session.add(
        PolicyRevision(
            policy_id=policy.id,
            number=number,
            document=body,
            sha256=digest,
            overrides=[dict(each) for each in overrides],
            created_by=principal.id,
            created_at=clock.now(),
        )
    )
    session.flush()
    return Written(policy, place, Action.CHANGED if latest else Action.NEW, number, before)


def _found(session: Session, document: PolicyDocument, place: places.Place) -> Policy:
    """Insert a policy for a place that has none yet."""
    at = {"school_id": place.school_id, "class_id": place.class_id, "device_id": place.device_id}
    taken = session.exec(select(Policy).filter_by(layer=place.layer, **at)).first()
    if taken is not None:
        raise Conflict(f"{document.layer} already has the policy `{taken.name}`; apply under that name")
    policy = Policy(name=document.name, layer=place.layer, **at)
    session.add(policy)
    session.flush()
    return policy


def _release(session: Session, written: Written) -> None:
    """Inside a plan's savepoint only: as if it had been rolled out to its whole layer."""
    assert written.policy.id is not None
    written.policy.released = written.revision
    session.add(written.policy)
    session.add(
        Rollout(
            policy_id=written.policy.id,
            revision=written.revision,
            target="plan",
            whole_layer=True,
            state=RolloutState.FINISHED,
            created_at=clock.now(),
        )
    )


def _shown(session: Session, scope: Scope, *, name: str | None = None) -> list[ShownPolicy]:
    """All revisions of one policy, or of all; policies of the fleet are everyone's to read."""
    in_scope = SCOPE_SQL.format(column="coalesce(p.school_id, c.school_id, d.school_id)")
    rows = session.execute(
        text(
            "SELECT p.name, r.number, max(r.number) OVER (PARTITION BY p.id), p.released, r.document, r.created_at,"
            " o.name FROM policy p JOIN policy_revision r ON r.policy_id = p.id"
            " LEFT JOIN school_class c ON c.id = p.class_id LEFT JOIN device d ON d.id = p.device_id"
            " LEFT JOIN operator o ON o.id = r.created_by"
            f" WHERE (p.layer = 'fleet' OR {in_scope}) AND (CAST(:name AS text) IS NULL OR p.name = :name)"
            " ORDER BY array_position(ARRAY['fleet', 'school', 'class', 'tablet'], CAST(p.layer AS text)), p.name"
        ),
        {"schools": scope.parameter, "name": name},
    )
    return [
        ShownPolicy(
            policy,
            _layer_text(document),
            revision=number,
            latest=latest,
            released=released,
            document=sealing.hidden(document),
            created_at=created_at,
            created_by=operator,
        )
        for policy, number, latest, released, document, created_at, operator in rows
    ]


def _layer_text(document: Mapping[str, Any]) -> str:
    layer = document["layer"]
    return layer if isinstance(layer, str) else "=".join(next(iter(layer.items())))
