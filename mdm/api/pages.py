"""Cursor pages over a keyset: stable while rows come and go. The cursor is sealed, so it cannot be made or read."""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Depends, Query, Request
from pydantic import BaseModel, Field

from mdm import vault
from mdm.errors import MdmError, Misconfigured

Item = TypeVar("Item")
Row = TypeVar("Row")
MAX_LIMIT = 500


class Page(BaseModel, Generic[Item]):
    """One page of a list; ask again with `cursor=<next>` until `next` is null."""

    items: list[Item]
    next: str | None = Field(default=None, description="The cursor of the next page; null on the last one.")


class BadCursor(MdmError):
    """The cursor was not given out by this list."""

    slug = "bad-cursor"


@dataclass(frozen=True, slots=True)
class Window:
    """What part of a list is asked for."""

    limit: int
    after: list[Any] | None
    """The sort key of the last row of the page before: `WHERE (sort, id) > after`; None for the first page."""
    list_name: str


def _paging(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Rows per page.")] = 100,
    cursor: Annotated[str | None, Query(max_length=1000, description="`next` of the page before.")] = None,
) -> Window:
    # The path template, so that a cursor of one list is refused by another.
    name = request.scope["route"].path
    return Window(limit=limit, after=_open(name, cursor) if cursor else None, list_name=name)


Paging = Annotated[Window, Depends(_paging)]
"""The `limit` and `cursor` of a list request."""


def page_of(
    window: Window, rows: Sequence[Row], *, key: Callable[[Row], Sequence[Any]], show: Callable[[Row], Item]
) -> Page[Item]:
    """Make a page from at most `limit + 1` rows (ask for one more than the limit: it says whether there is a next)."""
    shown = rows[: window.limit]
    more = len(rows) > window.limit
    following = _seal(window.list_name, key(shown[-1])) if more else None
    return Page(items=[show(row) for row in shown], next=following)


def _seal(name: str, key: Sequence[Any]) -> str:
    plain = json.dumps(list(key), default=str).encode()
    return base64.urlsafe_b64encode(vault.seal(f"cursor.{name}", plain)).decode().rstrip("=")


def _open(name: str, cursor: str) -> list[Any]:
    try:
        sealed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        key = json.loads(vault.unseal(f"cursor.{name}", sealed))
    except (ValueError, Misconfigured):
        raise BadCursor("this cursor was not given out by this list") from None
    assert isinstance(key, list)
    return key
