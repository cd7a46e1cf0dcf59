"""`docs/rights.md` is the table of rights in words; run this file to write it anew."""

import inspect
import re
from pathlib import Path

from mdm.auth import Action, Role
from mdm.auth import rights as module
from mdm.auth.rights import DUTIES, RIGHTS

PAGE = Path(__file__).parents[2] / "docs" / "rights.md"
HEAD = """# Who may do what

The table of rights (`mdm/auth/rights.py`), for people. Every route of the operator API names one of these actions, and
the server does not start with one that names none; what is not here is nobody's. Rights hang on a person's duty, not on
the company. Which schools is another matter (scope): outside of it things do not exist.

甲 may have every role; 乙 and 丙 have the duties {duties} only,
by a registered handler and a running contract (`tabane organization`). They see the six items of a person at most: the
loss desk the person without the numbers of radio and SIM, the others the tablet without the person. A name is masked
everywhere and opened one at a time, on record.

Class A is irreversible: a second person approves. B is disruptive and has a budget. C is benign. "person" means that an
API token may not.

| action | what | class | {roles} |
|---|---|---|{lines}|
"""


def _meanings() -> dict[str, str]:
    """Read what each action is for off its declaration."""
    source = inspect.getsource(module.Action)
    pairs = re.findall(r'^    ([A-Z_]+) = "([a-z_.]+)"\n(?:    """(.+?)"""\n)?', source, re.MULTILINE | re.DOTALL)
    return {
        value: " ".join((told or name.replace("_", " ").lower()).split()).rstrip(".") for name, value, told in pairs
    }


def page() -> str:
    """Return the page as the table has it."""
    roles = list(Role)
    meanings = _meanings()
    head = HEAD.format(
        duties=", ".join(f"`{duty}`" for duty in sorted(DUTIES)),
        roles=" | ".join(role.value.replace("_", " ") for role in roles),
        lines="|".join(":-:" for _ in roles),
    )
    rows = [
        f"| `{action.value}` | {meanings[action.value]} | {right.safety.value}{', person' if right.person else ''} | "
        + " | ".join("●" if role in right.roles else "" for role in roles)
        + " |\n"
        for action, right in ((each, RIGHTS[each]) for each in Action)
    ]
    return head + "".join(rows)


def test_the_page_says_what_the_table_says():
    """Whoever changes a right changes the page with it: `python -m tests.mdm_auth.test_rights_page`."""
    assert PAGE.read_text() == page()


if __name__ == "__main__":
    PAGE.write_text(page())
