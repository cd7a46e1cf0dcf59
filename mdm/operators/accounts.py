"""Operators' accounts and the rules of changing them. Signing in is `signin`; what a role may do is `mdm.auth`."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import ColumnElement, and_, func, text
from sqlmodel import Session, col, delete, exists, select

from mdm import clock
from mdm.audit import chain
from mdm.auth import SCOPE_SQL, Action, Principal, Role, Scope, credentials
from mdm.auth.credentials import Issued
from mdm.auth.entitlement import is_entitled
from mdm.auth.models import Operator, OperatorSchool
from mdm.auth.passwords import hash_password
from mdm.auth.principal import Factor
from mdm.auth.rights import DUTIES, allowed
from mdm.errors import Conflict, Forbidden, Invalid, NotFound
from mdm.operators import factors as second_factors
from mdm.operators.models import Identity
from mdm.organization.models import Handler, School

_HOST = "host"
"""The actor who has the database in hand; an identity provider's word is not that."""
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{1,63}")


@dataclass(frozen=True, slots=True)
class Account:
    """An operator as administrators see it."""

    operator: Operator
    schools: tuple[str, ...]
    """Codes, sorted; empty with `all_schools`."""


def scope_of_codes(session: Session, codes: Sequence[str], *, all_schools: bool, within: Scope) -> Scope:
    """Return the scope of these codes of schools `within` the giver's; `Invalid` names those there are not, or none.

    A school outside the giver's scope does not exist for whoever asks.
    """
    if all_schools:
        return Scope(all_schools=True)
    wanted = sorted(set(codes))
    there = text(f"SELECT code, id FROM school WHERE code = ANY(:codes) AND {SCOPE_SQL.format(column='id')}")
    found = session.execute(there, {"codes": wanted, "schools": within.parameter})
    known: dict[str, int] = {row.code: row.id for row in found}
    unknown = [code for code in wanted if code not in known]
    if unknown or not wanted:
        detail = f"no such school: {', '.join(unknown)}" if unknown else "name schools, or set all_schools"
        raise Invalid("the scope is wrong", errors=[{"pointer": "/schools", "detail": detail}])
    return Scope(all_schools=False, school_ids=frozenset(known.values()))


def add(
    session: Session,
    actor: Principal | str,
    *,
    name: str,
    password: str | None,
    role: Role,
    scope: Scope,
    founding: bool = False,
    break_glass: bool = False,
    handler_id: int | None = None,
) -> Operator:
    """Make an account. An operator may give no wider scope than its own; the host (`actor` is text) may give any.

    With `handler_id` it is that handler's of a contractor (R-57): `Conflict` unless it is entered there for this duty
    and a contract covers it today. Only the host makes the founding account, which may do without a second factor
    until it has one, and those for breaking the glass. Without a password only the identity provider lets it in.
    """
    if not _NAME.fullmatch(name):
        detail = "2 to 64 of a-z 0-9 . _ -, beginning with a letter or digit"
        raise Invalid("the name cannot be used", errors=[{"pointer": "/name", "detail": detail}])
    if isinstance(actor, Principal):
        actor.must(Action.MANAGE_OPERATORS)
        _must_include(actor, scope)
    if session.exec(select(Operator.id).where(Operator.name == name)).first() is not None:
        raise Conflict(f"there is an operator {name} already")
    operator = Operator(
        name=name,
        password_hash="" if password is None else hash_password(password, name=name),
        role=role,
        all_schools=scope.all_schools,
        created_at=clock.now(),
        second_factor_waived=founding,
        break_glass=break_glass,
        made_on_host=actor == _HOST,
        organization_id=_organization_of(session, handler_id, role),
        handler_id=handler_id,
    )
    session.add(operator)
    session.flush()
    _must_be_entitled(session, operator)
    _set_schools(session, operator, scope)
    details: dict[str, object] = {"role": role.value, "all_schools": scope.all_schools}
    details["school_ids"] = sorted(scope.school_ids)
    if break_glass:
        details["break_glass"] = True
    if handler_id is not None:
        details |= {"handler": handler_id, "organization": operator.organization_id}
    chain.record(session, actor, "operator.add", f"operator:{name}", details)
    return operator


def visible(
    session: Session, principal: Principal, *, after_name: str | None = None, limit: int = 500
) -> list[Account]:
    """List, by name, the operators whose whole scope lies within the principal's."""
    statement = select(Operator).where(_within(principal.scope)).order_by(col(Operator.name)).limit(limit)
    if after_name is not None:
        statement = statement.where(col(Operator.name) > after_name)
    return [_account(session, operator) for operator in session.exec(statement)]


def find(session: Session, principal: Principal, operator_id: int) -> Account:
    """Return one visible operator, or raise `NotFound`."""
    statement = select(Operator).where(Operator.id == operator_id, _within(principal.scope))
    operator = session.exec(statement).first()
    if operator is None:
        raise NotFound("there is no such operator")
    return _account(session, operator)


def change(
    session: Session,
    principal: Principal,
    operator_id: int,
    *,
    role: Role | None = None,
    scope: Scope | None = None,
    disabled: bool | None = None,
) -> Account:
    """Change role, scope or whether an operator may sign in; what it had open ends, so that the change holds at once.

    Nobody changes their own account, and one enabled administrator of all schools must remain.
    """
    principal.must(Action.MANAGE_OPERATORS)
    if operator_id == principal.id:
        raise Forbidden("nobody changes their own role, scope or account")
    # Two administrators who take each other out must wait for one another.
    everyone_in_charge = select(Operator.id).where(_in_charge()).order_by(col(Operator.id)).with_for_update()
    in_charge = set(session.exec(everyone_in_charge))
    operator = find(session, principal, operator_id).operator
    if _gives_more(session, operator, role=role, scope=scope, disabled=disabled):
        operator.elevated_at = clock.now()
    if role is not None:
        _organization_of(session, operator.handler_id, role)
        operator.role = role
    if scope is not None:
        _must_include(principal, scope)
        operator.all_schools = scope.all_schools
        _set_schools(session, operator, scope)
    if disabled is not None:
        operator.disabled_at = clock.now() if disabled else None
    session.add(operator)
    session.flush()
    if role is not None or disabled is False:
        _must_be_entitled(session, operator)
    if in_charge and session.exec(select(func.count()).select_from(Operator).where(_in_charge())).one() == 0:
        raise Conflict("one enabled administrator of all schools must remain")
    credentials.revoke_all(session, operator_id)
    details = {
        "role": role.value if role else None,
        "all_schools": scope.all_schools if scope else None,
        "school_ids": sorted(scope.school_ids) if scope else None,
        "disabled": disabled,
    }
    given = {name: value for name, value in details.items() if value is not None}
    chain.record(session, principal, "operator.change", f"operator:{operator.name}", given)
    return _account(session, operator)


def _gives_more(
    session: Session, operator: Operator, *, role: Role | None, scope: Scope | None, disabled: bool | None
) -> bool:
    """Say whether a change gives the account what it did not have: a right, schools, a way in."""
    assert operator.id is not None
    held = credentials.principal_of(session, operator).scope
    return (
        (role is not None and any(allowed(role, act) and not allowed(operator.role, act) for act in Action))
        or (scope is not None and not held.includes(scope))
        or (disabled is False and operator.disabled_at is not None)
    )


def follow(session: Session, actor: str, operator: Operator, *, role: Role, scope: Scope) -> None:
    """Bring an account up to what the identity provider gives today; if that differs, what was open ends."""
    assert operator.id is not None
    present = credentials.principal_of(session, operator)
    if (present.role, present.scope) == (role, scope):
        return
    if _gives_more(session, operator, role=role, scope=scope, disabled=None):
        operator.elevated_at = clock.now()
    operator.role = role
    operator.all_schools = scope.all_schools
    session.add(operator)
    _set_schools(session, operator, scope)
    credentials.revoke_all(session, operator.id)
    details = {"role": role.value, "all_schools": scope.all_schools, "school_ids": sorted(scope.school_ids)}
    chain.record(session, actor, "operator.change", f"operator:{operator.name}", details)


def set_password(session: Session, principal: Principal, operator_id: int, password: str) -> None:
    """Give an operator a new password and end all its sessions and tokens."""
    if operator_id != principal.id:
        principal.must(Action.MANAGE_OPERATORS)
    operator = find(session, principal, operator_id).operator
    if session.exec(select(Identity.operator_id).where(Identity.operator_id == operator_id)).first() is not None:
        raise Conflict("this account signs in by the identity provider, and has no password")
    operator.password_hash = hash_password(password, name=operator.name)
    if operator_id != principal.id:
        operator.elevated_at = clock.now()  # whoever set it could be whoever signs in with it
    session.add(operator)
    credentials.revoke_all(session, operator_id)
    chain.record(session, principal, "operator.password", f"operator:{operator.name}")


def reset_factors(session: Session, principal: Principal, operator_id: int) -> None:
    """Forget the second factors of another operator who has lost them."""
    principal.must(Action.MANAGE_OPERATORS)
    if operator_id == principal.id:
        raise Forbidden("nobody resets their own second factor; use a recovery code, or let another administrator")
    second_factors.reset(session, principal, find(session, principal, operator_id).operator)


def reset_factors_by_host(session: Session, name: str) -> None:
    """The same for any operator, by whoever runs this host."""
    operator = session.exec(select(Operator).where(Operator.name == name).with_for_update()).first()
    if operator is None:
        raise NotFound("there is no such operator")
    second_factors.reset(session, _HOST, operator)


def open_session(
    session: Session,
    operator: Operator,
    *,
    factors: Collection[Factor],
    address: str,
    bearer: bool,
    proved_at: datetime | Literal["now"] | None = "now",
) -> Issued:
    """Open a session for an operator who has proved to be there, and write that down."""
    assert operator.id is not None
    issued = credentials.open_session(session, operator.id, factors=factors, address=address, proved_at=proved_at)
    actor = f"operator:{operator.name}"
    details = {"bearer": bearer, "factors": sorted(factors), "break_glass": operator.break_glass}
    chain.record(session, actor, "session.open", actor, details)
    return issued


def _organization_of(session: Session, handler_id: int | None, role: Role) -> int | None:
    if handler_id is None:
        return None
    if role not in DUTIES:
        detail = f"a contractor's account has one of {', '.join(sorted(DUTIES))}"
        raise Invalid(detail, errors=[{"pointer": "/role", "detail": detail}])
    found = session.exec(select(Handler.organization_id).where(Handler.id == handler_id)).first()
    if found is None:
        detail = "there is no such handler"
        raise Invalid(detail, errors=[{"pointer": "/handler_id", "detail": detail}])
    return found


def _must_be_entitled(session: Session, operator: Operator) -> None:
    """Raise `Conflict` for a contractor's account that could not sign in: it would be there for nobody."""
    assert operator.id is not None
    if operator.handler_id is not None and not is_entitled(session, operator.id):
        raise Conflict("this handler is not entered for that duty today, or no contract covers it")


def _must_include(principal: Principal, scope: Scope) -> None:
    if not principal.scope.includes(scope):
        raise Forbidden("nobody gives a wider scope than their own")


def _in_charge() -> ColumnElement[bool]:
    return and_(
        col(Operator.role) == Role.ADMINISTRATOR.value, col(Operator.all_schools), col(Operator.disabled_at).is_(None)
    )


def _within(scope: Scope) -> ColumnElement[bool]:
    if scope.all_schools:
        return col(Operator.id).is_not(None)
    outside = exists().where(
        col(OperatorSchool.operator_id) == Operator.id,
        col(OperatorSchool.school_id).not_in(sorted(scope.school_ids)),
    )
    return and_(col(Operator.all_schools).is_(False), ~outside)


def _set_schools(session: Session, operator: Operator, scope: Scope) -> None:
    assert operator.id is not None
    session.exec(delete(OperatorSchool).where(col(OperatorSchool.operator_id) == operator.id))
    session.add_all(OperatorSchool(operator_id=operator.id, school_id=school) for school in sorted(scope.school_ids))
    session.flush()


def _account(session: Session, operator: Operator) -> Account:
    statement = (
        select(School.code)
        .join(OperatorSchool, col(OperatorSchool.school_id) == School.id)
        .where(OperatorSchool.operator_id == operator.id)
        .order_by(School.code)
    )
    return Account(operator=operator, schools=() if operator.all_schools else tuple(session.exec(statement)))
