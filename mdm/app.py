"""The front doors: `operator_app()` for people and their machines, `device_app()` for tablets. Nobody imports this."""

import gc
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from enrollment import endpoints as enrollment
from enrollment.apple import endpoints as apple_enrollment
from mdm import db
from mdm.api.examples import add_examples
from mdm.api.frame import LastResort, RequestId, SecurityHeaders
from mdm.api.problems import PROBLEMS, Problem, render_problems
from mdm.api.reference import add_reference
from mdm.apple import endpoints as apple_door
from mdm.audit import endpoints as audit
from mdm.auditor import endpoints as auditor
from mdm.auditor import entrusted_endpoints as entrusted
from mdm.auth.guards import refuse_unguarded
from mdm.campaigns import endpoints as campaigns
from mdm.cellular import account_endpoints as carriers
from mdm.cellular import action_endpoints as sim_acts
from mdm.cellular import endpoints as sims
from mdm.cellular import finding_endpoints as sim_findings
from mdm.cellular import import_endpoints as sim_files
from mdm.cellular import plan_endpoints as plans
from mdm.cellular.forecast import endpoints as forecasts
from mdm.cellular.reports import endpoints as usage_reports
from mdm.cellular.stages import endpoints as usage_stages
from mdm.cellular.usage import endpoints as usage_files
from mdm.checks import endpoints as checks
from mdm.commands import attempts, freeze_endpoints
from mdm.commands import endpoints as commands
from mdm.devices import endpoints as devices
from mdm.devices import ledger_endpoints as ledger
from mdm.errors import MdmError
from mdm.limits import endpoints as limits
from mdm.operators import endpoints as operators
from mdm.operators import factor_endpoints as factors
from mdm.operators import oidc_endpoints as oidc
from mdm.operators import session_endpoints as sessions
from mdm.operators import token_endpoints as tokens
from mdm.organization import calendar_endpoints as calendars
from mdm.organization import contractor_endpoints as contractors
from mdm.organization import endpoints as organization
from mdm.organization import handler_endpoints as handlers
from mdm.safeguards import endpoints as safeguards
from mdm.safeguards import key_endpoints as keys
from mdm.safeguards import notices
from mdm.settings import get_settings
from mdm.support import act_endpoints as case_acts
from mdm.support import endpoints as cases
from mdm.support import paper_endpoints as case_papers
from mdm.support import repair_endpoints as case_repairs
from profiles import endpoints as profiles

_OPERATOR_BODY_BYTES = 1024 * 1024
"""A route that takes files says so itself: `@router.post(..., max_body_size=...)`."""

OPERATOR_ROUTERS: tuple[APIRouter, ...] = (
    sessions.router,
    oidc.router,
    factors.router,
    tokens.router,
    operators.router,
    audit.router,
    auditor.router,
    entrusted.router,
    organization.router,
    calendars.router,
    contractors.router,
    handlers.router,
    limits.router,
    ledger.router,
    devices.router,
    checks.router,
    sim_files.router,
    sim_findings.router,
    sim_acts.router,
    sims.router,
    carriers.router,
    plans.router,
    usage_files.router,
    usage_reports.router,
    forecasts.router,
    usage_stages.router,
    enrollment.router,
    profiles.router,
    commands.router,
    cases.router,
    case_acts.router,
    case_repairs.router,
    case_papers.router,
    campaigns.router,
    keys.router,
    safeguards.router,
    freeze_endpoints.router,
)
"""One line per room, in the order of the document."""
OPEN_ROUTES = frozenset(
    {
        ("POST", "/api/v1/session"),  # signing in
        ("POST", "/api/v1/session/passkey"),
        ("POST", "/api/v1/session/passkey/options"),
        ("GET", "/api/v1/session/oidc"),
        ("GET", "/api/v1/session/oidc/callback"),
        ("POST", "/api/v1/session/handoff"),
        ("GET", "/livez"),
        ("GET", "/readyz"),
        ("GET", "/"),  # the reference page and its document describe the API and hold no data
        ("GET", "/api/v1/openapi.json"),
    }
)
"""What strangers may ask, and nothing else: the app does not start with another route that names no action."""
_SCHEMA_REASONS = {
    db.Schema.CURRENT: "ok",
    db.Schema.BEHIND: "the database schema is not this version's; run `tabane migrate`",
    db.Schema.AHEAD: "ok; a newer version has migrated the database, replace this one soon",
}
DEVICE_ROUTERS: tuple[APIRouter, ...] = (apple_door.router, apple_enrollment.router)
"""The tablets' doors, one line per platform and purpose."""


def operator_app() -> FastAPI:
    """Build the app for operators: /api/v1 with problem documents, and a right of the table on every route."""
    app = FastAPI(
        title="Tabane",
        summary="The operator API of the tablets' management",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/v1/openapi.json",
        generate_unique_id_function=_operation_id,
        max_body_size=_OPERATOR_BODY_BYTES,
    )
    # Each one added stands around those before it: the id is outermost.
    render_problems(app)
    attempts.watch(app)
    app.state.page = notices.page  # for rooms that stand below it
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestId)
    _add_health(app)
    for router in OPERATOR_ROUTERS:
        app.include_router(router, responses=PROBLEMS)
    _document_problems(app)
    add_reference(app)
    refuse_unguarded(app, OPEN_ROUTES)
    return app


class _DeviceApp(FastAPI):
    """The device app with a short way in for the fleet's check-ins.

    The frame of middlewares costs twice what a check-in does, and the iPads' door needs none of it: it has its own body
    limit, its own last resort, and never a 401.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and scope["path"] == apple_door.PATH:
            await apple_door.door(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def device_app() -> FastAPI:
    """Build the app for tablets: each door renders its own refusals, and nothing here ever answers 401."""
    app = _DeviceApp(
        title="Tabane door",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        max_body_size=get_settings().apple.max_body_bytes,
        redirect_slashes=False,
    )
    app.add_middleware(LastResort, render=lambda _request: Response(status_code=HTTPStatus.INTERNAL_SERVER_ERROR))
    app.add_middleware(RequestId)
    for kind in (MdmError, HTTPException, RequestValidationError):
        app.add_exception_handler(kind, _bare)
    _add_health(app)
    for router in DEVICE_ROUTERS:
        app.include_router(router)
    return app


def operator_process() -> FastAPI:
    """Build the app for operators in a process that serves nothing else."""
    return _lasting(operator_app())


def device_process() -> FastAPI:
    """Build the app for tablets in a process that serves nothing else."""
    return _lasting(device_app())


def _lasting(app: FastAPI) -> FastAPI:
    """Spare the collector what is loaded by now: it lives as long as the process, and a walk of it holds all up.

    A full collection of the door takes 80 ms on an idle machine, in which no tablet is answered.
    """
    gc.collect()
    gc.freeze()
    return app


def _bare(_request: Request, error: Exception) -> Response:
    """Answer a tablet with a bare status; 401 would make it unenrol itself (apple.md §1.3), so it becomes 400."""
    match error:
        case MdmError():
            status = int(error.status)
        case HTTPException():
            status = error.status_code
        case _:
            status = HTTPStatus.BAD_REQUEST
    return Response(status_code=HTTPStatus.BAD_REQUEST if status == HTTPStatus.UNAUTHORIZED else status)


def _operation_id(route: APIRoute) -> str:
    """Name an operation after its function, in the camel case of generated clients."""
    first, *rest = route.name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _add_health(app: FastAPI) -> None:
    @app.get("/livez", include_in_schema=False)
    async def livez() -> Response:
        """Say that the process runs."""
        return Response("ok\n", media_type="text/plain")

    @app.get("/readyz", include_in_schema=False)
    def readyz() -> Response:
        """Say whether the database answers and this version can work on it. The broker is not asked: it may be gone.

        A schema that a newer version has migrated will do: the former one serves on until it is replaced.
        """
        try:
            schema = db.schema()
            ready, reason = schema is not db.Schema.BEHIND, _SCHEMA_REASONS[schema]
        except SQLAlchemyError:
            ready, reason = False, "the database does not answer"
        return JSONResponse({"ready": ready, "reason": reason}, status_code=200 if ready else 503)


def _document_problems(app: FastAPI) -> None:
    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title, version=app.version, summary=app.summary, openapi_version="3.1.0", routes=app.routes
            )
            schemas = schema.setdefault("components", {}).setdefault("schemas", {})
            problem = Problem.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas.update(problem.pop("$defs", {}))
            schemas["Problem"] = problem
            add_examples(schema)
            app.openapi_schema = schema
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document
