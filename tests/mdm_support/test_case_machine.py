"""Cases and approvals against a plain model: any order of calls, acts, consents, answers, re-enrolments and jobs.

The model is what the tablet has really done and who has really agreed. What the queue does with each command is tested
by its own machine; here it is taken as it stands, and the case must say of it what is so.
"""

import json
import uuid

import hypothesis
import pytest
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
from mdm.commands import epochs, release
from mdm.devices.models import Device, Enrollment, EnrollmentStatus, LedgerState
from mdm.errors import MdmError
from mdm.organization.models import School
from mdm.safeguards import approvals
from mdm.safeguards.signing import Signature
from mdm.settings import get_settings
from mdm.support import acts, cases, deadlines, progress, returns
from mdm.support.acts import WriteOff
from mdm.support.cases import Opening
from mdm.support.kinds import Caller, CaseKind, Purpose, Verified
from mdm.support.states import State
from mdm.support.tablets import Sought
from tests.budgets import NO_BUDGETS
from tests.signer import Signer
from workers import sender

LIVE = {"held", "queued", "sent", "delivered", "not_now"}
OUT = LIVE - {"held"}
KINDS = ("lost_mode_on", "lost_mode_off", "locate", "wipe")
LOOKED_FOR = {"opened", "securing", "secured", "wipe_requested", "wipe_approved"}


class Desk(RuleBasedStateMachine):
    """One tablet, two people, one case at a time."""

    @initialize()
    def begin(self) -> None:
        self.epoch, self.lost, self.wiped_in, self.agreed = 1, False, set(), set()
        self.case, self.found, self.closed, self.verified = None, False, None, False
        self.wants_wipe, self.written_off = False, False
        with db.transaction() as session:
            school = School(code=uuid.uuid4().hex[:12], name="x")
            people = [
                Operator(name=uuid.uuid4().hex, password_hash="", role=Role.SUPPORT, made_on_host=True)
                for _ in range(2)
            ]
            session.add_all([school, *people])
            session.flush()
            self.serial = school.code.upper()
            facts = {"platform": "apple", "school_id": school.id, "state": LedgerState.ISSUED}
            device = Device(control_number=self.serial, serial=self.serial, **facts)
            session.add(device)
            session.flush()
            self.device = device.id
            facts = {"status": EnrollmentStatus.ACTIVE, "epoch": 1, "supervised": True, "udid": self.serial}
            session.add(Enrollment(device_id=device.id, **facts))
            scope = Scope(all_schools=True)
            self.asker, self.other = (Principal(each.id, each.name, Role.SUPPORT, scope) for each in people)
        url = get_settings().database_url
        self.signers = {who.id: Signer(who.name).pinned(url) for who in (self.asker, self.other)}

    # What is really so.

    def _sql(self, statement: str, *values) -> list:
        with db.engine().begin() as connection:
            answer = connection.exec_driver_sql(statement, values)
            return answer.all() if answer.returns_rows else []

    def _commands(self, *kinds: str, epoch: int | None = None) -> list:
        rows = self._sql(
            "SELECT id, kind, state, epoch, approval_id FROM command WHERE device_id = %s ORDER BY id", self.device
        )
        return [row for row in rows if row.kind in kinds and epoch in (None, row.epoch)]

    def _expected(self) -> str:
        """Say where the case must stand, by what the tablet has done and who has agreed."""
        if self.closed is not None:
            return self.closed
        if self.found:
            return "found"
        wipe = (self._commands("wipe", epoch=self.epoch) or [None])[-1]
        lock = (self._commands("lost_mode_on", epoch=self.epoch) or [None])[-1]
        if wipe is not None and wipe.id in self.wiped_in:
            return "wiped"
        if wipe is not None and wipe.state in LIVE:
            return "wipe_approved" if wipe.id in self.agreed else "wipe_requested"
        if self.lost:
            return "secured"
        return "securing" if lock is not None and lock.state in OUT else "opened"

    def _run(self, act) -> bool:
        try:
            with db.transaction() as session:
                act(session)
        except MdmError as refusal:
            hypothesis.note(f"refused: {refusal.detail}")
            return False
        return True

    @invariant()
    def the_case_says_what_is_so(self) -> None:
        if getattr(self, "case", None) is None:
            return
        with db.transaction() as session:
            case = cases.find(session, self.asker, self.case)
            assert progress.look(session, case).state.value == self._expected()
            assert case.wants_wipe == self.wants_wipe
        assert all(row.epoch == self.epoch for row in self._commands("wipe", "lost_mode_on") if row.state in LIVE)
        if self.found or self.closed in ("closed_found", "closed_mistaken"):
            assert not [row for row in self._commands("wipe") if row.state in LIVE - {"delivered"}] or not self.found
        if self.closed is not None:
            open_now = self._sql("SELECT id FROM support_case WHERE serial = %s AND closed_at IS NULL", self.serial)
            assert open_now == []

    # What people do.

    @precondition(lambda self: self.closed is not None or self.case is None)
    @rule(stolen=st.booleans(), verified=st.booleans())
    def call(self, stolen, verified) -> None:
        kind = CaseKind.STOLEN if stolen else CaseKind.LOST
        how = Verified.CALL_BACK if verified else Verified.NOT_YET
        opening = Opening(kind, Sought(serial=self.serial), Caller.GUARDIAN, how, {"message": "one"})
        with db.transaction() as session:
            self.case = cases.open_case(session, self.asker, opening).id
        self.stolen, self.verified = stolen, verified
        self.found, self.closed, self.written_off = False, None, False
        # What waits for the tablet since an earlier case waits for it still.
        self.wants_wipe = any(row.state in LIVE for row in self._commands("wipe", epoch=self.epoch))

    @precondition(lambda self: self.case is not None)
    @rule()
    def call_again(self) -> None:
        """A second call about the same tablet opens no second case."""
        opening = Opening(CaseKind.LOST, Sought(serial=self.serial), Caller.PUPIL, Verified.NOT_YET, {})
        if self.closed is None:
            assert not self._run(lambda session: cases.open_case(session, self.other, opening))

    @precondition(lambda self: self.case is not None)
    @rule(text=st.sampled_from(["one", "two"]))
    def show_message(self, text) -> None:
        may = self._expected() in LOOKED_FOR
        assert self._run(lambda s: acts.show_message(s, self.asker, self.case, {"message": text})) == may

    @precondition(lambda self: self.case is not None)
    @rule()
    def verify(self) -> None:
        accepted = self._run(lambda s: acts.verify(s, self.asker, self.case, Verified.IN_PERSON))
        assert accepted == (self.closed is None)
        self.verified = self.verified or accepted

    @precondition(lambda self: self.case is not None and len(self._commands("wipe")) < 3)
    @rule()
    def request_wipe(self) -> None:
        may = self._expected() in LOOKED_FOR and self.verified
        assert self._run(lambda s: acts.request_wipe(s, self.asker, self.case, reason="because")) == may
        self.wants_wipe = self.wants_wipe or may

    @precondition(lambda self: self.case is not None)
    @rule()
    def cancel_wipe(self) -> None:
        handed = any(row.state == "delivered" for row in self._commands("wipe", epoch=self.epoch))
        may = self._expected() in LOOKED_FOR and self.verified and not handed
        accepted = self._run(lambda s: acts.cancel_wipe(s, self.asker, self.case))
        assert accepted == may
        self.wants_wipe = self.wants_wipe and not accepted

    @precondition(lambda self: self._commands("wipe"))
    @rule(own=st.booleans(), agree=st.booleans())
    def decide(self, own, agree) -> None:
        wipe = self._commands("wipe")[-1]
        who = self.asker if own else self.other
        pending = wipe.state == "held" and wipe.id not in self.agreed
        if agree:
            accepted = self._run(lambda session: self._approve(session, who, wipe.approval_id))
            assert accepted == (pending and not own)
            if accepted:
                self.agreed.add(wipe.id)
                sender.look()
        elif pending:
            assert self._run(lambda session: release.reject(session, who, wipe.approval_id))

    def _approve(self, session, who, approval_id) -> None:
        signer = self.signers[who.id]
        digest = approvals.find(session, who.scope, approval_id).digest
        consent = approvals.Consent(signer.id, Signature(signer.sign(digest)), urgent=True)
        release.approve(session, who, approval_id, consent)

    @precondition(lambda self: self.case is not None)
    @rule()
    def find(self) -> None:
        may = self._expected() in LOOKED_FOR | {"wiped"}
        assert self._run(lambda s: acts.found(s, self.other, self.case)) == may
        if may:
            self.found, self.wants_wipe = True, False

    @precondition(lambda self: self.case is not None)
    @rule(number=st.sampled_from([None, "2026-1"]))
    def write_off(self, number) -> None:
        may = self._expected() in LOOKED_FOR | {"wiped"} and (number is not None or not self.stolen)
        assert self._run(lambda s: acts.write_off(s, self.other, self.case, WriteOff(number, None))) == may
        if may:
            self.closed, self.written_off = "closed_written_off", True
            self._sql("UPDATE device SET state = 'issued' WHERE id = %s", self.device)  # so that it may come back

    @precondition(lambda self: self.case is not None)
    @rule(outcome=st.sampled_from([State.CLOSED_FOUND, State.CLOSED_MISTAKEN, State.CLOSED_REPAIRED]))
    def close(self, outcome) -> None:
        ends = {"closed_found": {"found"}, "closed_mistaken": {"opened", "securing", "secured"}}
        may = self._expected() in ends.get(outcome.value, set())
        assert self._run(lambda s: acts.end(s, self.other, self.case, outcome)) == may
        if may:
            self.closed = outcome.value

    @precondition(lambda self: self.case is not None)
    @rule(answered=st.booleans())
    def locate(self, answered) -> None:
        self._run(lambda s: acts.ask(s, self.asker, self.case, Purpose.LOCATE))
        for row in self._commands("locate"):
            if answered and self.lost and row.state == "queued":
                self._says(row, "delivered")
                self._says(row, "done")

    @precondition(lambda self: self.case is not None and self._expected() in LOOKED_FOR)
    @rule(handed=st.booleans())
    def wipe_by_two(self, handed) -> None:
        """The short way to a wipe that may leave, which single steps seldom find; the tablet may take it at once."""
        self.verify()
        if not self._commands("wipe"):
            self.request_wipe()
            self.decide(own=False, agree=True)
        if handed:
            for row in self._takeable("wipe"):
                self._says(row, "delivered")

    # What the tablet does.

    def _takeable(self, *kinds: str) -> list:
        return [row for row in self._commands(*kinds) if row.state in ("queued", "sent")]

    def _taken(self) -> list:
        return [row for row in self._commands(*KINDS) if row.state == "delivered"]

    @precondition(lambda self: self._takeable(*KINDS))
    @rule(data=st.data(), answers=st.booleans())
    def takes(self, data, answers) -> None:
        """Let the tablet take a command that it may have, and mostly carry it out."""
        command = data.draw(st.sampled_from(self._takeable(*KINDS)))
        self._says(command, "delivered")
        if answers:
            self._says(command, "done")

    @precondition(lambda self: self._taken())
    @rule(data=st.data(), state=st.sampled_from(["done", "failed"]))
    def answers(self, data, state) -> None:
        """Let the tablet answer something that it has taken before."""
        self._says(data.draw(st.sampled_from(self._taken())), state)

    def _says(self, command, state) -> None:
        result = json.dumps({"Latitude": 35.0}) if command.kind == "locate" and state == "done" else None
        self._sql(
            "WITH t AS (UPDATE command SET state = %s, delivered_at = coalesce(delivered_at, now()), result = %s,"
            " ended_at = CASE WHEN %s THEN now() END WHERE id = %s RETURNING id, state)"
            " INSERT INTO command_event (command_id, state) SELECT id, state FROM t",
            *(state, result, state != "delivered", command.id),
        )
        if state == "done" and command.kind in ("lost_mode_on", "lost_mode_off"):
            self.lost = command.kind == "lost_mode_on"
            self._sql("UPDATE enrollment SET lost_mode = %s WHERE device_id = %s", self.lost, self.device)
        if state == "done" and command.kind == "wipe":
            assert command.id in self.agreed
            self.wiped_in.add(command.id)

    @rule()
    def enrol_again(self) -> None:
        """Let the tablet be set up anew; what it was handed before is over, and a wipe that it had is proved."""
        self.wiped_in |= {row.id for row in self._commands("wipe") if row.state == "delivered"}
        mine = {row.id for row in self._commands("wipe")} if self.case is None else self._of_this_case()
        self.epoch, self.lost = self.epoch + 1, False
        self._sql("UPDATE enrollment SET epoch = epoch + 1, lost_mode = false WHERE device_id = %s", self.device)

        def arrives(session) -> None:
            epochs.begin(session, self.device, self.epoch)
            returns.comes_back(session, self.device, self.serial, self.epoch)

        assert self._run(arrives)
        if self.case is None or self.found or (self.closed is not None and not self.written_off):
            return
        self.closed, self.written_off = None, False
        self.wants_wipe = self.wants_wipe and not (mine & self.wiped_in)
        assert [row for row in self._commands("lost_mode_on", epoch=self.epoch) if row.state == "queued"]

    def _of_this_case(self) -> set:
        rows = self._sql(
            "SELECT c.id FROM command c JOIN support_case s ON s.id = %s WHERE c.device_id = %s AND c.kind = 'wipe'"
            " AND (c.created_at >= s.opened_at"
            " OR c.id IN (SELECT command_id FROM case_command WHERE case_id = s.id))",
            *(self.case, self.device),
        )
        return {row.id for row in rows}

    # What time brings.

    @precondition(lambda self: self.case is not None)
    @rule()
    def tend(self) -> None:
        with db.transaction() as session:
            outcome = deadlines.tend(session, self.case)
        if outcome == "closed":
            assert self.found
            assert not self.lost
            self.closed = "closed_found"
        if self.found or self.closed is not None:
            mine = self._sql(
                "SELECT c.id FROM command c JOIN case_command m ON m.command_id = c.id"
                " WHERE m.case_id = %s AND c.kind = 'locate' AND c.result IS NOT NULL",
                self.case,
            )
            assert mine == []


@pytest.mark.timeout(600)  # finding the shortest way to a failure takes a while
def test_cases_and_approvals_against_a_plain_model(database):
    """No order of events makes a case say more than the tablet has, or a wipe leave that nobody else agreed to."""
    with db.engine().begin() as connection:
        # All examples together ask for more in an hour than one district may; budgets have tests of their own.
        connection.exec_driver_sql(NO_BUDGETS)
    settings = hypothesis.settings(max_examples=80, stateful_step_count=30, deadline=None)
    run_state_machine_as_test(Desk, settings=settings)
