"""`tabane login`, `step-up` and `logout`: keep a session for the next commands. No secret is ever an argument."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mdm.cli import browser
from mdm.cli.client import Client, connected, fail, forget_credentials, replace_kept, save_credentials

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


def read_code(prompt: str) -> str:
    """Return a code from a prompt on a terminal, else the next line of standard input; good once, so it may show."""
    if sys.stdin.isatty():
        return str(typer.prompt(prompt, err=True)).strip()
    code = sys.stdin.readline().strip()
    return code or fail("a code is needed: the next line of standard input")


@app.command()
def login(
    url: Annotated[str, typer.Option("--url", envvar="TABANE_URL", help="Where the operator app is reached.")],
    name: Annotated[str | None, typer.Option("--name", help="The operator's name.")] = None,
    password_file: PasswordFile = None,
    *,
    sso: Annotated[bool, typer.Option("--sso", help="By the identity provider, with this machine's browser.")] = False,
) -> None:
    """Sign in and keep the session for the next commands."""
    if sso:
        welcome(url, browser.sign_in(url))
        return
    if name is None:
        fail("give --name, or --sso", code=2)
    password = read_password(password_file, prompt="Password")
    body = {"name": name, "password": password, "bearer": True}
    client = Client(url, "")
    try:
        slug, answer = client.attempt("/api/v1/session", body)
        if slug == "second-factor-needed":
            answer = client.post("/api/v1/session", body | {"code": read_code("Code of the app, or a recovery code")})
        elif slug:
            fail(str(answer))
    finally:
        client.close()
    welcome(url, answer)


def welcome(url: str, answer: dict[str, Any]) -> None:
    """Keep a new session and say what it opens."""
    save_credentials(url, answer["token"])
    me = answer["operator"]
    print(f"Signed in to {url} as {me['name']} ({me['role']}) until {answer['expires_at']}.")
    if me["second_factor_missing"]:
        print("This role needs a second factor before it may do anything: tabane factor totp")


@app.command("step-up")
def step_up(
    password_file: PasswordFile = None,
) -> None:
    """Prove again that it is you, for what is irreversible: good for a few minutes."""
    with connected() as api:
        has = api.get("/api/v1/session/factors")
        body: dict[str, str] = {}
        if has["password"]:
            body["password"] = read_password(password_file, prompt="Password")
        if has["totp"]:
            body["code"] = read_code("Code of the app, or a recovery code")
        if not body:
            fail("this account has neither a password nor an app: sign in again")
        answer = api.post("/api/v1/session/step-up", body)
    replace_kept(answer["token"])
    print("Proved; what is irreversible is open for five minutes.")


@app.command()
def logout() -> None:
    """End the kept session and forget it."""
    try:
        with connected() as api:
            api.delete("/api/v1/session")
    finally:
        forget_credentials()
    print("Signed out.")
