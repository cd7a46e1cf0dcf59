"""RFC 9457 problem documents: how a refusal looks at the operators' edge. Never shows what an unexpected error said."""

from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, DBAPIError
from starlette.exceptions import HTTPException

from mdm.api.frame import LastResort
from mdm.errors import MdmError

_log = structlog.get_logger(__name__)
_TYPE = "urn:tabane:problem:"
MEDIA_TYPE = "application/problem+json"
_MAX_ERRORS = 50


class FieldError(BaseModel):
    """What is wrong with one field."""

    pointer: str = Field(description="RFC 6901 pointer into the body, or `?name` for a parameter.")
    detail: str


class Problem(BaseModel):
    """A problem document (RFC 9457)."""

    type: str = Field(examples=[_TYPE + "not-found"])
    title: str = Field(examples=["Not Found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["there is no such tablet"])
    request_id: str = Field(examples=["01890a5d-ac96-774b-bcce-b302099a8057"])
    errors: list[FieldError] = Field(default=[])


def _documented(status: HTTPStatus) -> dict[str, Any]:
    return {
        "description": status.phrase,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }


PROBLEMS: dict[int | str, dict[str, Any]] = {
    status.value: _documented(status)
    for status in (
        HTTPStatus.BAD_REQUEST,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.CONFLICT,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
}
"""For `APIRouter(responses=PROBLEMS)`; the operator app already gives it to every router."""


def _problem(
    request: Request,
    status: int,
    *,
    slug: str,
    detail: str,
    errors: list[dict[str, str]] | None = None,
    headers: dict[str, str] | None = None,
) -> JSONResponse:
    body: dict[str, Any] = {
        "type": _TYPE + slug,
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "request_id": getattr(request.state, "request_id", ""),
    }
    if errors:
        body["errors"] = errors
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def refusal(request: Request, error: MdmError) -> JSONResponse:
    """Render a refusal; an endpoint returns it instead of raising when what it wrote must be kept."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else {}
    retry_after = getattr(error, "retry_after", None)
    if retry_after is not None:
        headers["Retry-After"] = str(retry_after)
    return _problem(
        request, error.status, slug=error.slug, detail=error.detail, errors=error.errors, headers=headers or None
    )


def _mdm_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MdmError)
    return refusal(request, error)


def pointer(location: tuple[int | str, ...]) -> str:
    """Turn pydantic's location of an error into an RFC 6901 pointer, or `?name` for what is not in the body."""
    where, *path = location or ("body",)
    if where == "body":
        return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
    return "?" + ".".join(str(part) for part in path)


def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    # Only where and what is wrong: the input itself may hold a password or a pupil's name.
    errors = [{"pointer": pointer(each["loc"]), "detail": each["msg"]} for each in error.errors()[:_MAX_ERRORS]]
    return _problem(
        request,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        slug="invalid",
        detail="the request is understood but wrong; see errors",
        errors=errors,
    )


def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    slug = HTTPStatus(error.status_code).phrase.lower().replace(" ", "-")
    headers = dict(error.headers) if error.headers else None
    return _problem(request, error.status_code, slug=slug, detail=str(error.detail), headers=headers)


def unexpected(request: Request) -> JSONResponse:
    """Make the answer to a failure that nobody expected: it says nothing but where to look."""
    return _problem(
        request,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        slug="internal",
        detail="something went wrong here; the request id finds it in the log",
    )


def _unstorable(request: Request, _error: Exception) -> JSONResponse:
    """Answer a NUL or half a character in a text, a number that no column holds: the request's fault, found late."""
    detail = "a value in the request cannot be stored: a NUL or broken character, or a number out of range"
    return _problem(request, HTTPStatus.UNPROCESSABLE_ENTITY, slug="invalid", detail=detail)


def _database_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DBAPIError)
    sqlstate = getattr(error.orig, "sqlstate", None)
    if sqlstate in ("40001", "40P01", "55P03"):
        # Serialisation, deadlock, lock timeout: nothing was done, and a repeat will do.
        detail = "another change was in the way and nothing was done; ask again"
        return _problem(request, HTTPStatus.CONFLICT, slug="try-again", detail=detail, headers={"Retry-After": "1"})
    if isinstance(error, DataError):
        return _unstorable(request, error)
    if sqlstate is not None and not sqlstate.startswith(("08", "57P")):
        raise error
    _log.error("database_unreachable", path=request.url.path, error=type(error).__name__)
    return _problem(
        request,
        HTTPStatus.SERVICE_UNAVAILABLE,
        slug="unavailable",
        detail="the database cannot be reached just now; nothing was done",
        headers={"Retry-After": "2"},
    )


def render_problems(app: FastAPI) -> None:
    """Make an app answer every refusal and failure as a problem document."""
    app.add_middleware(LastResort, render=unexpected)
    app.add_exception_handler(MdmError, _mdm_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(DBAPIError, _database_error)
    app.add_exception_handler(UnicodeEncodeError, _unstorable)
