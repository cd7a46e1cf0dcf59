"""`tabane login` and `tabane logout`: keep a session for the next commands. No password is ever an argument."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from mdm.cli.client import Client, connected, fail, forget_credentials, save_credentials

app = typer.Typer()
PasswordFile = Annotated[
    Path | None, typer.Option("--password-file", help="Read the password from this file's first line; - is stdin.")
]


def read_password(file: Path | None, *, prompt: str, confirm: bool = False) -> str:
    """Return a password from a file, standard input, or (on a terminal) a prompt that shows nothing."""
    if file is None and sys.stdin.isatty():
        return str(typer.prompt(prompt, hide_input=True, confirmation_prompt=confirm, err=True))
    try:
        content = sys.stdin.readline() if file is None or str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"cannot read the password from {file}: {error}")
    lines = content.splitlines()
    if not lines or not lines[0]:
        fail("no password was given")
    return lines[0]


@app.command()
def login(
    url: Annotated[str, typer.Option("--url", envvar="TABANE_URL", help="Where the operator app is reached.")],
    name: Annotated[str, typer.Option("--name", help="The operator's name.")],
    password_file: PasswordFile = None,
) -> None:
    """Sign in and keep the session for the next commands."""
    password = read_password(password_file, prompt="Password")
    client = Client(url, "")
    try:
        answer = client.post("/api/v1/session", {"name": name, "password": password, "bearer": True})
    finally:
        client.close()
    save_credentials(url, answer["token"])
    print(f"Signed in to {url} as {name} ({answer['operator']['role']}) until {answer['expires_at']}.")


@app.command()
def logout() -> None:
    """End the kept session and forget it."""
    try:
        with connected() as api:
            api.delete("/api/v1/session")
    finally:
        forget_credentials()
    print("Signed out.")
