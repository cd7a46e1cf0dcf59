"""The operator API of accounts and passwords. Signing in is `session_endpoints`; what is set here is never shown."""

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from mdm.api import Page, Paging, page_of
from mdm.auth import Action, Principal, Role, may
from mdm.auth.access import client_address
from mdm.db import SessionDep
from mdm.errors import Forbidden
from mdm.operators import accounts, signin
from mdm.operators.answers import Body, Password
from mdm.operators.session_endpoints import Myself

router = APIRouter(prefix="/api/v1", tags=["operators"])


class NewPassword(Body):
    """The present password and the next one."""

    current: Password
    password: Password = Field(description="12 to 128 characters.")


@router.put("/session/password", operation_id="changePassword", summary="Change one's password", status_code=204)
def change_password(body: NewPassword, request: Request, session: SessionDep, principal: Myself) -> None:
    """Change one's own password; every session and token of the operator ends, this one too."""
    address = client_address(request)
    operator, _ = signin.check(session, name=principal.name, password=body.current.get_secret_value(), address=address)
    if operator is None:
        raise Forbidden("the present password is wrong")
    signin.throttle.succeeded(principal.name, address)
    accounts.set_password(session, principal, principal.id, body.password.get_secret_value())


class NewOperator(Body):
    """A new account."""

    name: str = Field(max_length=64, examples=["taro.yamada"])
    password: Password = Field(description="12 to 128 characters.")
    role: Role
    all_schools: bool = False
    schools: list[str] = Field(default=[], max_length=1000, description="School codes.", examples=[["E001"]])
    handler_id: int | None = Field(
        default=None, description="The registered handler of a contractor whose account it is.", examples=[None]
    )


class OperatorChange(Body):
    """What to change; what is absent stays."""

    role: Role | None = None
    all_schools: bool | None = None
    schools: list[str] | None = Field(default=None, max_length=1000)
    disabled: bool | None = None


class OperatorLine(BaseModel):
    """An account."""

    id: int
    name: str
    role: Role
    all_schools: bool
    schools: list[str]
    created_at: datetime
    disabled_at: datetime | None
    organization_id: int | None = Field(description="The contractor whose it is; null for the board's own.")
    handler_id: int | None
    break_glass: bool = Field(description="Made on the host for emergencies; its sign-in calls everyone.")


class PasswordReset(Body):
    """A password that an administrator sets."""

    password: Password


def _operator_line(account: accounts.Account) -> OperatorLine:
    assert account.operator.id is not None
    return OperatorLine(
        id=account.operator.id,
        name=account.operator.name,
        role=Role(account.operator.role),
        all_schools=account.operator.all_schools,
        schools=list(account.schools),
        created_at=account.operator.created_at,
        disabled_at=account.operator.disabled_at,
        organization_id=account.operator.organization_id,
        handler_id=account.operator.handler_id,
        break_glass=account.operator.break_glass,
    )


@router.get("/operators", operation_id="listOperators", summary="Operators within one's scope")
def list_operators(
    session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_OPERATORS))], paging: Paging
) -> Page[OperatorLine]:
    """List operators by name; those who see more schools than the caller are not shown."""
    after = paging.after[0] if paging.after else None
    found = accounts.visible(session, principal, after_name=after, limit=paging.limit + 1)
    return page_of(paging, found, key=lambda account: [account.operator.name], show=_operator_line)


@router.post("/operators", operation_id="addOperator", summary="Add an operator", status_code=HTTPStatus.CREATED)
def add_operator(
    body: NewOperator, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.MANAGE_OPERATORS))]
) -> OperatorLine:
    """Make an account with a scope no wider than one's own."""
    scope = accounts.scope_of_codes(session, body.schools, all_schools=body.all_schools, within=principal.scope)
    operator = accounts.add(
        session,
        principal,
        name=body.name,
        password=body.password.get_secret_value(),
        role=body.role,
        scope=scope,
        handler_id=body.handler_id,
    )
    assert operator.id is not None
    return _operator_line(accounts.find(session, principal, operator.id))


@router.get("/operators/{operator_id}", operation_id="showOperator", summary="One operator")
def show_operator(
    operator_id: int, session: SessionDep, principal: Annotated[Principal, Depends(may(Action.READ_OPERATORS))]
) -> OperatorLine:
    """Return one operator within the caller's scope."""
    return _operator_line(accounts.find(session, principal, operator_id))


@router.patch("/operators/{operator_id}", operation_id="changeOperator", summary="Change role, scope or access")
def change_operator(
    operator_id: int,
    body: OperatorChange,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_OPERATORS))],
) -> OperatorLine:
    """Change an operator other than oneself; all that the operator had open ends at once."""
    scope = None
    if body.all_schools is not None or body.schools is not None:
        everywhere = bool(body.all_schools)
        scope = accounts.scope_of_codes(session, body.schools or [], all_schools=everywhere, within=principal.scope)
    account = accounts.change(session, principal, operator_id, role=body.role, scope=scope, disabled=body.disabled)
    return _operator_line(account)


@router.put(
    "/operators/{operator_id}/password", operation_id="resetPassword", summary="Set a password", status_code=204
)
def reset_password(
    operator_id: int,
    body: PasswordReset,
    session: SessionDep,
    principal: Annotated[Principal, Depends(may(Action.MANAGE_OPERATORS))],
) -> None:
    """Set another operator's password, for one who has forgotten it; all that was open ends."""
    if operator_id == principal.id:
        raise Forbidden("change your own password with the present one, at /api/v1/session/password")
    accounts.set_password(session, principal, operator_id, body.password.get_secret_value())
