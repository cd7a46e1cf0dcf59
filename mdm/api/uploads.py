"""Files that operators send: received on disk before the transaction opens, in either form. Reads none of them."""

import hashlib
import tempfile
from collections.abc import AsyncIterator
from typing import Annotated, Any, BinaryIO, Final, cast

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from mdm import db
from mdm.auth import credentials
from mdm.auth.access import BearerDep, secret_of
from mdm.errors import Malformed, Unauthenticated

MULTIPART_SLACK: Final = 64 * 1024
"""How much longer than the file a form around it may be."""
_IN_MEMORY: Final = 8 * 1024 * 1024

CSV_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A CSV file in UTF-8 or CP932, headers in Japanese or English.",
        "content": {
            "text/csv": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}
"""`openapi_extra` of a route that takes one."""


async def _uploaded(request: Request, bearer: BearerDep) -> AsyncIterator[BinaryIO]:
    """Receive the file before the transaction opens, so that a slow upload holds no connection of the database."""
    secret = secret_of(request, bearer)
    # Nobody fills the disk with a secret that opens nothing.
    if secret is None or not await run_in_threadpool(_opens, secret):
        raise Unauthenticated("sign in first: no valid session or token")
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        async with request.form(max_files=1, max_fields=8) as form:
            upload = form.get("file")
            if not isinstance(upload, UploadFile):
                raise Malformed("the form has no file in the field `file`")
            yield upload.file
        return
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as file:
        async for chunk in request.stream():
            file.write(chunk)
        file.seek(0)
        yield cast("BinaryIO", file)


def _opens(secret: str) -> bool:
    with db.transaction() as session:
        return credentials.authenticate(session, secret) is not None


Uploaded = Annotated[BinaryIO, Depends(_uploaded)]
"""The file of a request, at its beginning. The route says how large with `max_body_size`."""


def digest_of(file: BinaryIO) -> bytes:
    """Return SHA-256 of a file, so that the trail says which one it was; leaves it at its beginning."""
    file.seek(0)
    digest = hashlib.sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    file.seek(0)
    return digest.digest()
