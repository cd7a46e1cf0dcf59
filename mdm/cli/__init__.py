"""The `tabane` command: one module per room. Loads only the module that is asked for; holds no rules of its own."""

import importlib
import importlib.util
import sys
from dataclasses import dataclass

import typer
from sqlalchemy.exc import OperationalError

from mdm.errors import MdmError


@dataclass(frozen=True)
class Room:
    """One module with an `app` of its own: mounted under `name`, or its `words` straight on the top."""

    module: str
    name: str | None = None
    words: tuple[str, ...] = ()


ROOMS = (
    Room("mdm.cli.up", words=("up",)),
    Room("mdm.cli.serve", words=("web", "door", "worker", "sender", "beat", "migrate", "roles")),
    Room("mdm.cli.login", words=("login", "step-up", "logout")),
    Room("mdm.cli.session", "session"),
    Room("mdm.cli.factor", "factor"),
    Room("mdm.cli.token", "token"),
    Room("mdm.cli.ledger", "ledger"),
    Room("mdm.cli.device", "device"),
    Room("mdm.cli.enroll", "enroll"),
    Room("mdm.cli.policy", "policy"),
    Room("mdm.cli.rollout", "rollout"),
    Room("mdm.cli.limits", "limits"),
    Room("mdm.cli.sims", "sims"),
    Room("mdm.cli.usage", "usage"),
    Room("mdm.cli.ring", "ring"),
    Room("mdm.cli.calendar", "calendar"),
    Room("mdm.cli.check", "check"),
    Room("mdm.cli.command", "command"),
    Room("mdm.cli.lost", "lost"),
    Room("mdm.cli.wipe", words=("wipe",)),
    Room("mdm.cli.case_more", "case"),
    Room("mdm.cli.approval", "approval"),
    Room("mdm.cli.campaign", "campaign"),
    Room("mdm.cli.key", "key"),
    Room("mdm.cli.safeguard", "safeguard"),
    Room("mdm.cli.operator", "operator"),
    Room("mdm.cli.organization", "organization"),
    Room("mdm.cli.audit", "audit"),
)
"""One line per room."""


def build(first_word: str | None) -> typer.Typer:
    """Build the command with the room that answers to `first_word`, or with all rooms when none does (for help)."""
    top = typer.Typer(name="tabane", no_args_is_help=True, pretty_exceptions_enable=False, add_completion=False)
    top.callback()(_tabane)
    asked = [room for room in ROOMS if first_word is not None and first_word in (room.name, *room.words)]
    for room in asked or ROOMS:
        top.add_typer(importlib.import_module(room.module).app, name=room.name)
    return top


def main() -> None:
    """Run the command; what is expected to fail does so in a clear line on standard error and status 1."""
    first_word = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        build(first_word)(prog_name="tabane")
    except MdmError as error:
        _fail(error.detail, *(f"  {field.get('pointer', '')}: {field.get('detail', '')}" for field in error.errors))
    except OperationalError:
        _fail("the database does not answer at the address of DATABASE_URL")


def _tabane() -> None:
    """Tabane manages a school district's tablets."""


def _fail(*lines: str) -> None:
    print("tabane: " + "\n".join(lines), file=sys.stderr)
    sys.exit(1)
