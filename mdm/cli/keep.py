"""What `tabane up` makes once and keeps in its data folder: the key of the vault, the first account. Prints nothing."""

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from mdm import vault
from mdm.errors import Misconfigured

ADMINISTRATOR = "admin"


@dataclass(frozen=True)
class SignIn:
    """The first administrator; `password` only in the run that made the account."""

    name: str
    password_file: Path
    password: str | None


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


def fresh_password() -> str:
    """Return a password that can be read out and typed: five groups of four, about 100 bits."""
    alphabet = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else
    return "-".join("".join(secrets.choice(alphabet) for _ in range(4)) for _ in range(5))
