"""Signs, with the key on this machine, what somebody else has asked for. The passphrase and the key stay here."""

from pathlib import Path
from typing import Any

import typer

from mdm.cli import keyfile
from mdm.cli.client import Client, fail
from mdm.cli.login import read_password
from mdm.safeguards import signing


def signed(
    api: Client, request: dict[str, Any], *, passphrase_file: Path | None, yes: bool, urgent: bool = False
) -> dict[str, Any]:
    """Return the body of a decision: the key's number and the signature under what was shown of the request.

    The digest is made here: a server that shows one thing gets no signature for another.
    """
    me = api.get("/api/v1/session")["name"]
    key_id = own_key(api)
    if not yes:
        typer.confirm("Sign this?", abort=True, err=True)
    key = keyfile.unlock(read_password(passphrase_file, prompt="Passphrase of the approver key"))
    digest = signing.digest(
        request["action"],
        request["subject"],
        reason=request["reason"],
        requested_by=request["requested_by_id"],
        expires_at=request["expires_at"],
    )
    signature = key.sign(signing.challenge(digest, approver=me, urgent=urgent))
    return {"key": key_id, "signature": signing.encoded(signature)}


def own_key(api: Client) -> int:
    """Return the number under which the server knows the key on this machine."""
    own = signing.fingerprint(keyfile.public_key())
    found = [int(each["id"]) for each in api.get("/api/v1/keys")["items"] if each["fingerprint"] == own]
    if not found:
        fail("the key on this machine is not registered for this account: make one with `tabane key new`")
    return found[0]
