"""Who is acting and over which schools. Plain values; knows nothing of HTTP or of where a principal came from."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from sqlalchemy import ColumnElement, true
from sqlalchemy.orm import Mapped

from mdm import clock
from mdm.auth.entitlement import BOARD
from mdm.auth.models import Role
from mdm.auth.rights import RIGHTS, Action, Safety, allowed
from mdm.errors import Attempt, Forbidden

FRESH_FOR_A: Final = 5
FRESH_FOR_BULK: Final = 15
"""In minutes, until a threshold says otherwise; see `Principal`."""


class StepUpRequired(Forbidden):
    """A person must show again that they are there."""

    slug = "step-up-required"


class SecondFactorRequired(Forbidden):
    """The role needs a second factor, and this session has shown only one."""

    slug = "second-factor-required"


class Factor(StrEnum):
    """One thing by which a person proved to be there."""

    PASSWORD = "password"  # noqa: S105 - the name of a factor
    TOTP = "totp"
    RECOVERY = "recovery"
    """A recovery code, in place of what was lost."""
    KEY = "key"
    """A security key, touched."""
    PASSKEY = "passkey"
    """A security key that checked a PIN, a finger or a face: two factors in one."""
    SSO = "sso"
    """The identity provider's word."""
    SSO_MFA = "sso_mfa"
    """The identity provider's word that it asked for a second factor."""
    HOST = "host"
    """Whoever opened the session has the server's database and keys in hand."""


_OWN_ACCOUNT: Final = frozenset({Action.SIGN_IN_SELF, Action.CHANGE_SELF})
"""What is open before the second factor is there: how else would it get there."""
_SECOND: Final = frozenset(Factor) - {Factor.PASSWORD, Factor.SSO}


def are_two(factors: frozenset[Factor]) -> bool:
    """Say whether these prove more than one thing; second ones are only ever taken after a first."""
    return bool(factors & _SECOND)


def needs_two(role: Role) -> bool:
    """Say whether the table lets a role do anything irreversible: then one password is not enough."""
    return any(role in right.roles and right.safety.needs_a_person for right in RIGHTS.values())


class CredentialKind(StrEnum):
    """How a principal proved who it is."""

    SESSION = "session"
    """A person's sign-in, some hours long. Only these may approve."""
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

    def only(self, school_ids: frozenset[int]) -> "Scope":
        """Return the part of this scope that lies in these schools."""
        return Scope(all_schools=False, school_ids=school_ids if self.all_schools else school_ids & self.school_ids)

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
    key: str = ""
    """The credential's public name: two requests with the same come from one session or token."""
    proved_at: datetime | None = field(default_factory=clock.now)
    """When the person last proved to be there. What this host's own code makes, it vouches for now."""
    factors: frozenset[Factor] = frozenset({Factor.HOST})
    second_factor_missing: bool = False
    """Then this session may only see to its own account."""
    actions: frozenset[Action] | None = None
    """A token's own bounds; None: all that the role may."""
    minutes_for_a: int = FRESH_FOR_A
    """As the thresholds have it: how lately the person must have proved to be there for what is irreversible."""
    minutes_for_bulk: int = FRESH_FOR_BULK
    """The same for something disruptive on many tablets at once."""
    organization_id: int | None = None
    """The contractor's or sub-contractor's; None for the board's own people."""
    tier: str = BOARD
    """`board`, `contractor` or `subcontractor` (甲, 乙, 丙): what is shown of a person depends on it (R-26)."""

    @property
    def actor(self) -> str:
        """The name under which the audit trail records what this principal does."""
        return f"operator:{self.name}"

    def may(self, action: Action) -> bool:
        """Say whether the table gives this principal's role that, within a token's bounds: now or after a proof."""
        return allowed(self.role, action) and (self.actions is None or action in self.actions)

    def must(self, action: Action) -> None:
        """Raise `Forbidden` unless the table of rights lets this principal do that, by this kind of credential.

        What is irreversible needs a person who has just proved to be there: `StepUpRequired` otherwise.
        """
        if not allowed(self.role, action):
            raise self._refused(action, f"the role {self.role.value} may not do this ({action.value})")
        right = RIGHTS[action]
        if right.person and self.credential is not CredentialKind.SESSION:
            raise self._refused(action, f"an API token may not do this ({action.value}); sign in for it")
        if self.actions is not None and action not in self.actions:
            raise self._refused(action, f"this API token was not made for this ({action.value})")
        if action not in _OWN_ACCOUNT:
            self.must_have_shown_two()
        if right.safety.needs_a_person:
            if self.credential is not CredentialKind.SESSION:
                detail = "this needs a person who has just proved to be there; an API token cannot"
                raise self._refused(action, detail, StepUpRequired)
            self.must_be_fresh(self.minutes_for_a)

    def _refused(self, action: Action, detail: str, kind: type[Forbidden] = Forbidden) -> Forbidden:
        """Return the refusal, marked when it was a try at what cannot be undone: the breaker counts those."""
        error = kind(detail)
        if action not in RIGHTS or RIGHTS[action].safety is Safety.A:
            error.attempt = Attempt(self.id, self.actor, action.value)
        return error

    def fresh(self, minutes: float) -> bool:
        """Say whether the person proved to be there in the last minutes; a token never did."""
        if self.credential is not CredentialKind.SESSION or self.proved_at is None:
            return False
        return self.proved_at > clock.now() - timedelta(minutes=minutes)

    def must_be_fresh(self, minutes: float) -> None:
        """Raise `StepUpRequired` unless the person proved to be there in the last minutes; a token cannot."""
        if self.credential is not CredentialKind.SESSION:
            raise StepUpRequired("this needs a person who has just proved to be there; an API token cannot")
        if not self.fresh(minutes):
            raise StepUpRequired(
                f"this needs proof from the last {minutes:g} minutes that it is you: "
                "POST /api/v1/session/step-up, or `tabane step-up`, and then again"
            )

    def must_have_shown_two(self) -> None:
        """Raise `SecondFactorRequired` from a session that shows one factor where the role needs two."""
        if self.second_factor_missing:
            raise SecondFactorRequired(
                f"the role {self.role.value} needs a second factor: set one up at /api/v1/session/factors, "
                "or with `tabane factor totp`"
            )
