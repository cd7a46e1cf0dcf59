"""Typed errors of the house. Each edge renders them its own way: RFC 9457 for operators, a bare status for tablets."""

from dataclasses import dataclass
from http import HTTPStatus


@dataclass(frozen=True, slots=True)
class Attempt:
    """Somebody's try at what cannot be undone, refused: the breaker counts these (`mdm.safeguards.breaker`)."""

    operator_id: int
    actor: str
    what: str
    """An action or a kind of command; never what the request said."""
    trips: str | None = None
    """The pattern that opens the breaker by itself; None: only many of them do."""


class MdmError(Exception):
    """A refusal with a status and a stable slug; `detail` is a sentence for people and holds no secret."""

    status: HTTPStatus = HTTPStatus.BAD_REQUEST
    slug: str = "bad-request"
    attempt: Attempt | None = None
    """Set where what was refused cannot be undone."""

    def __init__(self, detail: str, *, errors: list[dict[str, str]] | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = errors or []
        """Field errors: `{"pointer": "/apps/0", "detail": "..."}` (RFC 6901 pointers)."""


class NotFound(MdmError):
    """There is no such thing, or it is outside the caller's scope; the two look the same on purpose."""

    status = HTTPStatus.NOT_FOUND
    slug = "not-found"


class Conflict(MdmError):
    """The thing is not in a state that allows this."""

    status = HTTPStatus.CONFLICT
    slug = "conflict"


class Forbidden(MdmError):
    """The caller's role or scope does not allow this."""

    status = HTTPStatus.FORBIDDEN
    slug = "forbidden"


class Invalid(MdmError):
    """The document is understood but wrong; `errors` names the fields."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    slug = "invalid"


class Unauthenticated(MdmError):
    """No valid session or token. For the operators' edge only: a tablet never gets a 401 (it would unenrol)."""

    status = HTTPStatus.UNAUTHORIZED
    slug = "unauthenticated"


class Malformed(MdmError):
    """Bytes from outside that do not parse, or exceed a cap on size, depth or nodes."""

    status = HTTPStatus.BAD_REQUEST
    slug = "malformed"


class Misconfigured(MdmError):
    """A setting or file is missing or wrong; the detail says which and what to do."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    slug = "misconfigured"
