"""Who is acting and over which schools. Plain values; knows nothing of HTTP or of where a principal came from."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import Mapped

from mdm.auth.models import Role
from mdm.auth.rights import RIGHTS, Action, allowed
from mdm.errors import Forbidden


class CredentialKind(StrEnum):
    """How a principal proved who it is."""

    SESSION = "session"
    """A sign-in with a password, some hours long. Only these may approve."""
    TOKEN = "token"  # noqa: S105 - the name of a kind
    """A long-lived API token of a machine."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The schools an operator may see and touch; outside of it things do not exist (404)."""

    all_schools: bool
    school_ids: frozenset[int] = frozenset()

    def covers(self, school_id: Mapped[int] | ColumnElement[int]) -> ColumnElement[bool]:
        """Return the condition that keeps a query within scope: `.where(scope.covers(col(Device.school_id)))`."""
        if self.all_schools:
            return true()
        return school_id.in_(sorted(self.school_ids))

    @property
    def parameter(self) -> list[int] | None:
        """The value of `:schools` in `SCOPE_SQL`: None for every school."""
        return None if self.all_schools else sorted(self.school_ids)

    def includes(self, other: "Scope") -> bool:
        """Say whether everything in the other scope is in this one."""
        return self.all_schools or (not other.all_schools and other.school_ids <= self.school_ids)


SCOPE_SQL = "(CAST(:schools AS bigint[]) IS NULL OR {column} = ANY(CAST(:schools AS bigint[])))"
"""The same condition for hand-written SQL: `SCOPE_SQL.format(column="d.school_id")` with `schools=scope.parameter`."""


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in operator, for the length of one request."""

    id: int
    name: str
    role: Role
    scope: Scope
    credential: CredentialKind = CredentialKind.SESSION

    @property
    def actor(self) -> str:
        """The name under which the audit trail records what this principal does."""
        return f"operator:{self.name}"

    def may(self, action: Action) -> bool:
        """Say whether the table of rights gives this principal's role that, whatever the credential."""
        return allowed(self.role, action)

    def must(self, action: Action) -> None:
        """Raise `Forbidden` unless the table of rights lets this principal do that, by this kind of credential."""
        if not self.may(action):
            raise Forbidden(f"the role {self.role.value} may not do this ({action.value})")
        if RIGHTS[action].person and self.credential is not CredentialKind.SESSION:
            raise Forbidden(f"an API token may not do this ({action.value}); sign in for it")
