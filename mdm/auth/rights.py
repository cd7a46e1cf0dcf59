"""Who may do what: the one table of role and action, with how much harm each can do. Default deny; scope is apart.

Rights hang on a person's duty, not on the company (R-42); which schools is `Scope`, enforced in SQL. A row is added
here before its route is written: `mdm.auth.access.may` takes nothing else, and a test compares every route with this.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mdm.auth.models import Role


class Safety(StrEnum):
    """How much harm something can do (operations.md §2.3)."""

    A = "A"
    """Irreversible: a second person approves."""
    B = "B"
    """Disruptive, reversible: at once, audited, within a budget."""
    C = "C"
    """Benign."""

    @property
    def needs_a_person(self) -> bool:
        """Whether somebody must have just proved to be there."""
        return self is Safety.A


class Action(StrEnum):
    """Everything that a person can do through any of the doors."""

    SIGN_IN_SELF = "session.self"
    """See and end one's own session, tokens, keys."""
    CHANGE_SELF = "session.change"
    """Make tokens and keys of one's own, change one's password."""
    READ_FLEET = "fleet.read"
    """Tablets, schools, classes, commands: no names, no locations."""
    READ_NAME = "holder.read_name"
    READ_LOCATION = "location.read"
    CHANGE_DEVICE = "device.change"
    RETIRE_DEVICE = "device.retire"
    """Take a tablet out of the fleet in the ledger."""
    ENROL = "enrollment.open"
    """Open and revoke the tickets that let tablets in."""
    IMPORT_LEDGER = "ledger.import"
    EXPORT_LEDGER = "ledger.export"
    ASK = "command.ask"
    """Ask a tablet something benign, or to restart."""
    LOCK = "command.lock"
    """Lock, lost mode on and off, sound: at once."""
    LOCATE = "command.locate"
    REQUEST_WIPE = "command.request_wipe"
    CANCEL_COMMAND = "command.cancel"
    READ_APPROVALS = "approval.read"
    APPROVE = "approval.decide"
    """Decide as a second person."""
    WITHDRAW = "approval.withdraw"
    """Refuse a request, or withdraw one's own."""
    READ_POLICIES = "policy.read"
    CHANGE_POLICIES = "policy.change"
    REQUEST_EXCEPTION = "exception.request"
    APPROVE_EXCEPTION = "exception.approve"
    READ_ROLLOUTS = "rollout.read"
    RUN_ROLLOUTS = "rollout.run"
    APPROVE_ROLLOUT = "rollout.approve"
    """Let a held rollout run, as a second person."""
    READ_LIMITS = "limits.read"
    SET_LIMITS = "limits.set"
    READ_CALENDARS = "calendar.read"
    SET_CALENDARS = "calendar.set"
    READ_OPERATORS = "operator.read"
    MANAGE_OPERATORS = "operator.manage"
    READ_ORGANIZATIONS = "organization.read"
    MANAGE_ORGANIZATIONS = "organization.manage"
    READ_AUDIT = "audit.read"
    READ_CASES = "case.read"
    WORK_CASES = "case.work"
    """Open, note and close cases; the kind's own right (loss or repair) is asked too."""
    WORK_LOSS = "case.loss"
    """Open and work on cases of lost, stolen and late tablets."""
    WORK_REPAIR = "case.repair"
    """Open and work on cases of broken tablets."""
    SET_DESK = "desk.set"
    """Deadlines of cases, and what a locked tablet shows."""
    READ_CHECKS = "check.read"
    RUN_CHECKS = "check.run"
    """Plan and close whereabouts checks (R-19)."""
    CONFIRM_TABLET = "check.confirm"
    """Give one's word, or a scan, that a tablet is there."""
    READ_SAFEGUARDS = "safeguard.read"
    FREEZE = "safeguard.freeze"
    """The red button."""
    THAW = "safeguard.thaw"
    TIGHTEN = "safeguard.tighten"
    LOOSEN = "safeguard.loosen"
    READ_SIMS = "sim.read"
    """Lines, accounts, plans, pools: keyed to the tablet, with the ends of numbers only."""
    READ_SIM_NUMBERS = "sim.read_numbers"
    """ICCID, EID, IMSI and telephone number in full, and the export."""
    MANAGE_SIMS = "sim.manage"
    """Bind a SIM to a tablet, exchange SIMs, move lines between pools."""
    IMPORT_SIMS = "sim.import"
    CONTROL_SIMS = "sim.control"
    """Suspend and resume lines, change their speed, plan and bound radio."""
    IMPORT_USAGE = "usage.import"
    """Files of usage, and bills, which close the cycles they are of."""
    MANAGE_CARRIERS = "carrier.manage"
    """Accounts, plans and their terms, pools, rules of use."""
    READ_USAGE = "usage.read"
    """What lines used and cost, by tablet, school and pool: never beside a person (R-26)."""
    RUN_CAMPAIGN = "campaign.request"
    """Ask for a bulk wipe of returned tablets, and let a paused one go on."""


@dataclass(frozen=True, slots=True)
class Right:
    """Which roles may, and what harm it can do."""

    roles: frozenset[Role]
    safety: Safety = Safety.C
    person: bool = False
    """Needs a person who has signed in: no API token."""


_BOARD = frozenset({Role.ADMINISTRATOR})
_DESK = _BOARD | {Role.SUPPORT}
_INSIGHT = _DESK | {Role.AUDITOR, Role.VIEWER}
"""Who reads for the board."""
_STAFF = _INSIGHT | {Role.SUPERVISION, Role.OPERATION}
"""Who must see how the whole stands in order to run it or watch over it."""
_LOSS = _DESK | {Role.LOSS_DESK}
_REPAIR = _DESK | {Role.OPERATION, Role.REPAIR_DESK}
_ALL = frozenset(Role)

DUTIES: Final = frozenset({Role.SUPERVISION, Role.OPERATION, Role.LOSS_DESK, Role.REPAIR_DESK})
"""What may be entrusted to a contractor (乙) or sub-contractor (丙); every other role is the board's (甲) own."""

RIGHTS: Final[Mapping[Action, Right]] = {
    Action.SIGN_IN_SELF: Right(_ALL),
    Action.CHANGE_SELF: Right(_ALL, person=True),
    Action.READ_FLEET: Right(_ALL),
    Action.READ_NAME: Right(_LOSS),
    Action.READ_LOCATION: Right(_LOSS),
    Action.CHANGE_DEVICE: Right(_DESK | {Role.OPERATION}, Safety.B),
    Action.RETIRE_DEVICE: Right(_BOARD, Safety.A),
    Action.ENROL: Right(_DESK | {Role.OPERATION}, Safety.B),
    Action.IMPORT_LEDGER: Right(_BOARD, Safety.B),
    Action.EXPORT_LEDGER: Right(_BOARD),
    Action.ASK: Right(_DESK | {Role.OPERATION}, Safety.B),
    Action.LOCK: Right(_LOSS, Safety.B),
    Action.LOCATE: Right(_LOSS, Safety.B),
    Action.REQUEST_WIPE: Right(_LOSS, Safety.A),
    Action.CANCEL_COMMAND: Right(_LOSS | {Role.OPERATION}),
    Action.READ_APPROVALS: Right(_INSIGHT | {Role.SUPERVISION, Role.LOSS_DESK}),
    Action.APPROVE: Right(_DESK | {Role.SUPERVISION}, Safety.A, person=True),
    Action.WITHDRAW: Right(_LOSS | {Role.SUPERVISION}),
    Action.READ_POLICIES: Right(_STAFF | {Role.REPAIR_DESK, Role.SCHOOL}),
    Action.CHANGE_POLICIES: Right(_BOARD, Safety.B),
    Action.REQUEST_EXCEPTION: Right(_DESK | {Role.OPERATION}, Safety.B),
    Action.APPROVE_EXCEPTION: Right(_BOARD, Safety.B, person=True),
    Action.READ_ROLLOUTS: Right(_STAFF),
    Action.RUN_ROLLOUTS: Right(_BOARD, Safety.B),
    Action.APPROVE_ROLLOUT: Right(_BOARD, Safety.B, person=True),
    Action.READ_LIMITS: Right(_STAFF),
    Action.SET_LIMITS: Right(_BOARD, Safety.B),
    Action.READ_CALENDARS: Right(_STAFF | {Role.SCHOOL}),
    Action.SET_CALENDARS: Right(_BOARD, Safety.B),
    Action.READ_OPERATORS: Right(_BOARD | {Role.AUDITOR}),
    Action.MANAGE_OPERATORS: Right(_BOARD, Safety.A, person=True),
    Action.READ_ORGANIZATIONS: Right(_BOARD | {Role.AUDITOR, Role.SUPERVISION}),
    Action.MANAGE_ORGANIZATIONS: Right(_BOARD, Safety.B, person=True),
    Action.READ_AUDIT: Right(_BOARD | {Role.AUDITOR}),
    Action.READ_CASES: Right(_LOSS | _REPAIR | {Role.AUDITOR, Role.SUPERVISION}),
    Action.WORK_CASES: Right(_LOSS | _REPAIR),
    Action.WORK_LOSS: Right(_LOSS, Safety.B),
    Action.WORK_REPAIR: Right(_REPAIR, Safety.B),
    Action.SET_DESK: Right(_BOARD),
    Action.READ_CHECKS: Right(_STAFF | {Role.LOSS_DESK, Role.SCHOOL}),
    Action.RUN_CHECKS: Right(_DESK),
    Action.CONFIRM_TABLET: Right(_DESK | {Role.OPERATION, Role.SCHOOL}),
    Action.READ_SIMS: Right(_STAFF | {Role.LOSS_DESK, Role.REPAIR_DESK}),
    Action.READ_SIM_NUMBERS: Right(_DESK | {Role.OPERATION}),
    Action.MANAGE_SIMS: Right(_DESK | {Role.OPERATION}, Safety.B),
    Action.IMPORT_SIMS: Right(_BOARD, Safety.B),
    Action.CONTROL_SIMS: Right(_DESK | {Role.OPERATION}, Safety.B),
    Action.IMPORT_USAGE: Right(_BOARD, Safety.B),
    Action.MANAGE_CARRIERS: Right(_BOARD, Safety.B, person=True),
    Action.READ_USAGE: Right(_STAFF),
    Action.READ_SAFEGUARDS: Right(_STAFF | {Role.LOSS_DESK}),
    Action.FREEZE: Right(_BOARD),
    Action.THAW: Right(_BOARD, Safety.A, person=True),
    Action.TIGHTEN: Right(_BOARD),
    Action.LOOSEN: Right(_BOARD, Safety.A, person=True),
    Action.RUN_CAMPAIGN: Right(_BOARD, Safety.A, person=True),
}
"""The table. An action without a row is nobody's."""


READ_ONLY: Final = frozenset(
    {
        Action.SIGN_IN_SELF,
        Action.READ_FLEET,
        Action.READ_APPROVALS,
        Action.READ_POLICIES,
        Action.READ_ROLLOUTS,
        Action.READ_LIMITS,
        Action.READ_CALENDARS,
        Action.READ_CHECKS,
        Action.READ_SIMS,
        Action.READ_USAGE,
        Action.READ_SAFEGUARDS,
    }
)
"""Reading that names no person and no place: what an API token may when nothing is said."""


def allowed(role: Role, action: Action) -> bool:
    """Say whether the table lets a role do this."""
    right = RIGHTS.get(action)
    return right is not None and role in right.roles
