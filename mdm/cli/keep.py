"""What `tabane up` makes once and keeps in its data folder: the key of the vault, the first account. Prints nothing."""

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlmodel import Session, select

from mdm import db, vault
from mdm.audit import chain, signing
from mdm.auth import Role, Scope, credentials
from mdm.auth.models import Operator
from mdm.cli.client import credentials_file, save_credentials
from mdm.embedded.folder import make_folder
from mdm.errors import Misconfigured
from mdm.operators import accounts

_ADMINISTRATOR = "admin"
_HOST = "host"
"""The actor in the audit trail: whoever runs `tabane up` has the database and the key in hand anyway."""


@dataclass(frozen=True)
class SignIn:
    """The first administrator."""

    name: str
    password_file: Path
    password: str | None
    """Only in the run that made the account."""
    token: str
    """A session for the commands of this machine."""


def keep(file: Path, content: str) -> Path:
    """Write a file that only its owner may read, unless it is there already; whole or not at all."""
    if not file.exists():
        fresh = file.with_name(f"{file.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            fresh.rename(file)
        except OSError as error:
            raise Misconfigured(f"data folder {file.parent}: {error.strerror}") from None
    return file


def secret_key(folder: Path) -> Path:
    """Return the file with the key of what is sealed in this folder's database; made with the folder."""
    return keep(folder / "secret.key", vault.new_key_line())


def audit_files(folder: Path) -> dict[str, str]:
    """Return the settings of the audit trail's witnesses in this folder; the key that signs is made with it."""
    own = folder / "audit"
    make_folder(own, mode=0o700)
    private, public = own / "signing.key", own / "signing.pub"
    if not private.exists():
        signing.make(private, public)
    return {
        "TABANE_AUDIT__SIGNING_KEY_FILE": str(private),
        "TABANE_AUDIT__PUBLIC_KEYS_FILE": str(public),
        "TABANE_AUDIT__WITNESS_FILE": str(own / "witness.jsonl"),
        "TABANE_AUDIT__CHECKPOINT_FILE": str(own / "checkpoints.jsonl"),
    }


def fresh_password() -> str:
    """Return a password that can be read out and typed: five groups of four, about 100 bits."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(5))


def first_administrator(folder: Path) -> SignIn | None:
    """Return the account that `tabane up` made, making it in a database that has none, with a session for this host.

    None when the database has accounts, but not that one: somebody else's house, where people sign in as themselves.
    """
    password_file = folder / "admin-password"
    with db.transaction() as session:
        fresh = session.exec(select(Operator.id).limit(1)).first() is None
        if fresh:
            # The file stands before the account does: a start that is cut off in between uses the same password.
            _add(session, keep(password_file, fresh_password() + "\n").read_text().strip())
        found = session.exec(select(Operator).where(Operator.name == _ADMINISTRATOR)).first()
        if found is None or found.id is None or found.disabled_at is not None or not password_file.exists():
            return None
        token = credentials.open_session(session, found.id).secret
        chain.record(session, _HOST, "session.open", f"operator:{_ADMINISTRATOR}", {})
    password = password_file.read_text().strip() if fresh else None
    return SignIn(_ADMINISTRATOR, password_file, password, token)


def _add(session: Session, password: str) -> None:
    scope = Scope(all_schools=True)
    accounts.add(
        session,
        _HOST,
        name=_ADMINISTRATOR,
        password=password,
        role=Role.ADMINISTRATOR,
        scope=scope,
        founding=True,
    )


def sign_in_here(url: str, token: str) -> None:
    """Keep the session for the other `tabane` commands of this user, unless they talk to another machine's house."""
    try:
        kept = json.loads(credentials_file().read_text())["url"]
    except (OSError, ValueError, KeyError, TypeError):
        kept = url
    if urlsplit(str(kept)).hostname in ("127.0.0.1", "localhost", urlsplit(url).hostname):
        save_credentials(url, token)
