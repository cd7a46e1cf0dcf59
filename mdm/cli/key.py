"""`tabane key`: the keys with which people approve. `pin` and `revoke --host` work on the database, for the host."""

from pathlib import Path
from typing import Annotated

import typer

from mdm.auth.models import Operator
from mdm.cli import house, keyfile
from mdm.cli.client import connected, fail, show_json
from mdm.cli.login import read_password
from mdm.db import transaction
from mdm.safeguards import keys, signing

app = typer.Typer(no_args_is_help=True, help="Keys with which a second person signs.")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="Read the passphrase from its first line; - is stdin.")
]


@app.command()
def new(
    label: Annotated[str, typer.Option("--label", help="What to call it, such as the machine it lies on.")],
    passphrase_file: PassphraseFile = None,
) -> None:
    """Make a key on this machine and register it; the host must pin it before it counts."""
    with connected() as api:
        name = api.get("/api/v1/session")["name"]
        with keyfile.made(read_password(passphrase_file, prompt="New passphrase", confirm=True)) as key:
            public = key.public_key().public_bytes_raw()
            signed = key.sign(signing.registration_challenge(name, label=label, public_key=public))
            body = {"public_key": signing.encoded(public), "signature": signing.encoded(signed)}
            made = api.post("/api/v1/keys", {"kind": "software", "label": label, **body})
    print(f"key {made['id']} in {keyfile.file()}")
    print(f"fingerprint {made['fingerprint']}")
    print("It counts once whoever runs the host has compared that fingerprint and pinned it: tabane key pin")


@app.command("list")
def list_(*, as_json: _Json = False) -> None:
    """List one's own keys."""
    with connected() as api:
        found = api.get("/api/v1/keys")["items"]
    if as_json:
        show_json(found)
        return
    for each in found:
        state = "revoked" if each["revoked_at"] else "pinned" if each["pinned_at"] else "not pinned yet"
        print(f"{each['id']:>5}  {each['kind']:<9} {state:<15} {each['fingerprint']}  {each['label']}")


@app.command()
def revoke(
    key: Annotated[str, typer.Argument(help="The key's number; with --host its fingerprint.")],
    *,
    host: Annotated[bool, typer.Option("--host", help="Anybody's, straight in the database.")] = False,
) -> None:
    """End a key for good."""
    if host:
        house.move_in()
        with transaction() as session:
            keys.revoke_by_host(session, key)
    else:
        with connected() as api:
            api.delete(f"/api/v1/keys/{key}")
    print(f"{key} signs nothing any more.")


@app.command()
def pin(
    fingerprint: Annotated[
        str | None, typer.Argument(help="As the person reads it out from their own screen; asked for if absent.")
    ] = None,
) -> None:
    """Let a registered key count, straight in the database: for whoever runs this host.

    Compare the fingerprint with what its holder says, by voice or face to face: a stolen session can register a key
    under anybody's name. The role counts as well: a key pinned for an administrator of all schools loosens safeguards.
    """
    house.move_in()
    with transaction() as session:
        waiting = [
            (holder.name, _duty(holder), signing.fingerprint(key.public_key), key.label)
            for key, holder in keys.waiting(session)
        ]
    for name, duty, told, label in waiting:
        print(f"{name:<24} {duty:<28} {told}  {label}")
    if fingerprint is None:
        if not waiting:
            fail("no key waits to be pinned")
        fingerprint = str(typer.prompt("Fingerprint that the holder reads out")).strip()
    with transaction() as session:
        name = keys.pin(session, fingerprint)
    print(f"{fingerprint} now signs for {name}.")


def _duty(holder: Operator) -> str:
    return f"{holder.role} ({'all schools' if holder.all_schools else 'some schools'})"
