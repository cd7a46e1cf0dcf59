"""The command queue against a plain model: any order of wishes, decisions, answers, re-enrolments and sweeps."""

import uuid
from dataclasses import dataclass, field

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mdm import db
from mdm.auth import Principal, Role, Scope
from mdm.auth.models import Operator
from mdm.commands import epochs, queue, release, transitions
from mdm.commands.kinds import Kind
from mdm.devices.models import Device, Enrollment, EnrollmentStatus
from mdm.errors import MdmError
from mdm.organization.models import School
from mdm.safeguards import approvals
from mdm.safeguards.signing import Signature
from mdm.settings import get_settings
from tests.budgets import NO_BUDGETS
from tests.signer import Signer
from workers import sender

LIVE = {"held", "queued", "sent", "delivered", "not_now"}
RECALLABLE = LIVE - {"delivered"}
OPPOSES = {"lost_mode_on": {"lost_mode_off"}, "lost_mode_off": {"lost_mode_on", "locate"}}
WISHES = [
    (Kind.LOST_MODE_ON, {"message": "one"}),
    (Kind.LOST_MODE_ON, {"message": "two"}),
    (Kind.LOST_MODE_OFF, {}),
    (Kind.LOCATE, {}),
    (Kind.RESTART, {}),
    (Kind.WIPE, {"preserve_data_plan": True}),
]


@dataclass
class Modelled:
    """One command as the model sees it."""

    id: uuid.UUID
    kind: str
    arguments: dict
    behind: uuid.UUID | None
    state: str
    approval: uuid.UUID | None = None
    pending: bool = False
    approved: bool = False
    epoch: int = 1
    steps: list[str] = field(default_factory=list)

    def to(self, state: str) -> None:
        self.state = state
        self.steps.append(state)


class Queue(RuleBasedStateMachine):
    """One tablet, two operators, and everything that can happen to its commands."""

    @initialize()
    def begin(self) -> None:
        self.model: list[Modelled] = []
        self.epoch, self.lost = 1, False
        with db.transaction() as session:
            school = School(code=uuid.uuid4().hex[:12], name="x")
            people = [
                Operator(name=uuid.uuid4().hex, password_hash="", role=Role.SUPPORT, made_on_host=True)
                for _ in range(2)
            ]
            session.connection().exec_driver_sql(NO_BUDGETS)  # all stories are told in one database within a minute
            session.add_all([school, *people])
            session.flush()
            device = Device(control_number=school.code, serial=school.code, platform="apple", school_id=school.id)
            session.add(device)
            session.flush()
            self.device = device.id
            facts = {"status": EnrollmentStatus.ACTIVE, "epoch": 1, "supervised": True, "udid": school.code}
            session.add(Enrollment(device_id=device.id, **facts))
            scope = Scope(all_schools=True)
            self.asker, self.other = (Principal(each.id, each.name, Role.SUPPORT, scope) for each in people)
        url = get_settings().database_url
        self.signers = {who.id: Signer(who.name).pinned(url) for who in (self.asker, self.other)}

    def _live(self) -> list[Modelled]:
        return [each for each in self.model if each.state in LIVE]

    def _run(self, act) -> bool:
        """Do something in a transaction of its own; say whether it was accepted."""
        try:
            with db.transaction() as session:
                act(session)
        except MdmError:
            return False
        return True

    def _sql(self, statement: str, *values) -> None:
        with db.engine().begin() as connection:
            connection.exec_driver_sql(statement, values)

    @rule(wish=st.sampled_from(WISHES))
    def ask(self, wish) -> None:
        kind, arguments = wish
        live = self._live()
        opposing = [each for each in live if each.kind in OPPOSES.get(kind.value, ())]
        passed = [each for each in opposing if each.state == "delivered"]
        behind = passed[-1].id if passed else None
        same = [each for each in live if (each.kind, each.arguments, each.behind) == (kind.value, arguments, behind)]
        switches = [each.kind for each in live if each.kind in ("lost_mode_on", "lost_mode_off")]
        will_be_lost = switches[-1] == "lost_mode_on" if switches else self.lost
        with db.transaction() as session:
            [outcome] = queue.enqueue(session, self.asker, [self.device], kind, arguments, reason="because")
        if kind is Kind.LOCATE and not will_be_lost:
            assert outcome.refusal is not None
        elif same:
            assert not outcome.fresh
            assert outcome.command.id == same[0].id
        else:
            assert outcome.fresh
            for each in live:
                ended = each in opposing or (kind is Kind.LOST_MODE_ON and each.kind == kind.value)
                if ended and each.state in RECALLABLE:
                    each.to("superseded")
            made = outcome.command
            first = "held" if kind is Kind.WIPE else "queued"
            self.model.append(Modelled(made.id, kind.value, arguments, behind, first, made.approval_id))
            self.model[-1].epoch, self.model[-1].pending = self.epoch, first == "held"
            self.model[-1].steps.append(first)

    @precondition(lambda self: any(each.approval for each in self.model))
    @rule(data=st.data(), own=st.booleans(), agree=st.booleans())
    def decide(self, data, own, agree) -> None:
        command = data.draw(st.sampled_from([each for each in self.model if each.approval]))
        who = self.asker if own else self.other
        act = self._approve if agree else release.reject
        accepted = self._run(lambda session: act(session, who, command.approval))
        # A request outlives a command that a new enrolment ended until the next sweep: it may be refused, not approved.
        undecided = command.state == "held" and command.pending
        assert accepted == (undecided and not own if agree else command.pending)
        if accepted:
            command.pending, command.approved = False, agree
        if accepted and command.state == "held" and not agree:
            command.to("cancelled")

    @rule()
    def send(self) -> None:
        sender.look()
        for each in self.model:
            if each.state == "held" and each.approved:
                each.to("queued" if each.epoch == self.epoch else "cancelled")

    def _approve(self, session, who, approval_id) -> None:
        signer = self.signers[who.id]
        digest = approvals.find(session, who.scope, approval_id).digest
        consent = approvals.Consent(signer.id, Signature(signer.sign(digest)), urgent=True)
        release.approve(session, who, approval_id, consent)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def cancel(self, data) -> None:
        command = data.draw(st.sampled_from(self.model))
        accepted = self._run(lambda session: transitions.cancel(session, self.other, command.id))
        assert accepted == (command.state in RECALLABLE or command.state == "cancelled")
        if accepted and command.state != "cancelled":
            command.to("cancelled")
            command.pending = False

    @rule(idle=st.booleans())
    def hand_over(self, idle) -> None:
        """Let the tablet take its next command, as the exchange does it: what it put off only when it is idle again."""
        lane = {"restart": 1}
        waiting = [each for each in self._live() if each.state != "held" and (self.lost or each.kind != "locate")]
        waiting = [each for each in waiting if idle or each.state != "not_now"]
        if waiting:
            command = min(waiting, key=lambda each: (lane.get(each.kind, 0), each.id))
            self._sql(
                "WITH t AS (UPDATE command SET state = 'delivered', delivered_at = now() WHERE id = %s RETURNING id)"
                " INSERT INTO command_event (command_id, state) SELECT id, 'delivered' FROM t",
                command.id,
            )
            command.to("delivered")

    @precondition(lambda self: any(each.state == "delivered" for each in self.model))
    @rule(data=st.data(), state=st.sampled_from(["done", "failed", "not_now"]))
    def answer(self, data, state) -> None:
        command = data.draw(st.sampled_from([each for each in self.model if each.state == "delivered"]))
        self._sql(
            "WITH t AS (UPDATE command SET state = %s WHERE id = %s RETURNING id, state)"
            " INSERT INTO command_event (command_id, state) SELECT id, state FROM t",
            state,
            command.id,
        )
        command.to(state)
        if state == "done" and command.kind in ("lost_mode_on", "lost_mode_off"):
            self.lost = command.kind == "lost_mode_on"
            self._sql("UPDATE enrollment SET lost_mode = %s WHERE device_id = %s", self.lost, self.device)

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def time_passes(self, data) -> None:
        command = data.draw(st.sampled_from(self.model))
        self._sql("UPDATE command SET expires_at = now() WHERE id = %s AND state <> 'done'", command.id)
        self._run(transitions.expire)
        if command.state in LIVE:
            command.to("expired")
        for each in self.model:
            each.pending = each.pending and each.state == "held"

    @rule()
    def sweep(self) -> None:
        self._run(transitions.end_overtaken)
        going = LIVE - {"held"} | {"done"}
        for each in [each for each in self.model if each.state == "not_now"]:
            newer = [other for other in self.model if other.epoch == each.epoch and other.id > each.id]
            if any(each.kind in OPPOSES.get(other.kind, ()) and other.state in going for other in newer):
                each.to("superseded")

    @rule()
    def enrol_again(self) -> None:
        self.epoch, self.lost = self.epoch + 1, False
        self._sql("UPDATE enrollment SET epoch = epoch + 1, lost_mode = false WHERE device_id = %s", self.device)
        self._run(lambda session: epochs.begin(session, self.device, self.epoch))
        for each in self._live():
            proven = each.kind == "wipe" and "delivered" in each.steps
            each.to("done" if proven else "cancelled")

    @invariant()
    def states_and_timelines_agree(self) -> None:
        """Every command is where the model has it, with every step logged once."""
        if not hasattr(self, "device"):
            return
        with db.engine().connect() as connection:
            rows = connection.exec_driver_sql(
                "SELECT c.id, c.state, array_agg(e.state ORDER BY e.id) AS steps, a.state = 'approved' AS approved"
                " FROM command c JOIN command_event e ON e.command_id = c.id"
                " LEFT JOIN approval a ON a.id = c.approval_id"
                " WHERE c.device_id = %s GROUP BY c.id, c.state, a.state",
                (self.device,),
            ).all()
        actual = {row.id: (row.state, list(row.steps), bool(row.approved)) for row in rows}
        assert actual == {each.id: (each.state, each.steps, each.approved) for each in self.model}

    @invariant()
    def no_wipe_leaves_unapproved(self) -> None:
        for each in getattr(self, "model", []):
            assert each.kind != "wipe" or each.approved or not {"queued", "delivered", "done"} & set(each.steps)


def test_queue_against_the_model(database: str) -> None:
    """Whatever happens in whatever order, the queue is where a plain model says it is."""
    settings = hypothesis.settings(
        max_examples=30,
        stateful_step_count=25,
        # No shrinking: against a real database it takes minutes, and the steps are printed anyway.
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(Queue, settings=settings)
