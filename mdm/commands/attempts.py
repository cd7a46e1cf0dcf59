"""The operators' edge of the safeguards: count refused attempts at class A, and pay for acts. Decides on nothing."""

import structlog
from fastapi import FastAPI, Request, Response
from sqlalchemy.exc import SQLAlchemyError

from mdm import db
from mdm.api.problems import refusal
from mdm.auth import Action, Principal
from mdm.auth.rights import RIGHTS
from mdm.commands import freezing
from mdm.errors import Attempt, MdmError
from mdm.safeguards import budgets

_log = structlog.get_logger(__name__)


def watch(app: FastAPI) -> None:
    """Make an app count refused attempts, and pay for each act before it begins (`mdm.auth.access.Guard`)."""
    app.add_exception_handler(MdmError, _refused)
    app.state.spend_act = spend_act


def spend_act(principal: Principal, action: Action) -> None:
    """Spend one unit for an act through a route, in a short transaction of its own; raises `BudgetSpent`.

    Not in the act's own: that can be long, and whoever spends holds up all others. What is paid stays paid, even if
    the act is refused after all.
    """
    pot = budgets.pot_of(action, RIGHTS[action].safety)
    if pot is not None:
        with db.transaction() as session:
            budgets.spend_act(session, principal, pot, what=action.value)


def _refused(request: Request, error: Exception) -> Response:
    """Answer a refusal, and count it if it was an attempt at what cannot be undone: its own transaction is gone."""
    assert isinstance(error, MdmError)
    if error.attempt is not None:
        _count(error.attempt)
    return refusal(request, error)


def _count(attempt: Attempt) -> None:
    try:
        with db.transaction() as session:
            freezing.note_attempt(session, attempt)
    except (SQLAlchemyError, MdmError) as error:
        # Refused it is all the same; while the database is away nothing can be asked for either.
        _log.error("attempt_not_counted", what=attempt.what, error=type(error).__name__)
