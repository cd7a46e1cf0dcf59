"""Rollouts against a plain model: any order of starts, waves, installs, stops, roll backs and looks of the worker."""

import uuid
from dataclasses import dataclass, field

import hypothesis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import text

from mdm import clock, db
from mdm.auth import Principal, Role, Scope
from mdm.auth.models import Operator
from mdm.devices.models import Device, Enrollment, EnrollmentStatus, LedgerState
from mdm.errors import Conflict
from mdm.organization.models import School
from profiles import policies, rollouts, targets
from profiles.policy import read
from profiles.rollouts.thresholds import Thresholds
from profiles.rollouts.waves import Waves

TABLETS = "ABCDE"
CALM = Thresholds(failures=1, silent=1, proof=False)
SOME = st.sets(st.sampled_from(TABLETS))
STOPPED = ("aborted", "rolled_back")


@dataclass
class Modelled:
    """One rollout as the model sees it."""

    id: uuid.UUID
    revision: int
    whole: bool
    waves: list[str]
    left_out: str
    state: str = "running"
    opened: int = 0
    given: bool = False
    told: set[str] = field(default_factory=set)
    has: set[str] = field(default_factory=set)
    """Tablets that were seen to have installed it."""
    falling: bool = False

    def speaks_to(self, tablet: str) -> bool:
        to_layer = self.given and self.state not in STOPPED and tablet not in self.left_out
        return tablet in self.told or to_layer


class District(RuleBasedStateMachine):
    """One school of five tablets, one policy, and everything that can happen to its rollouts."""

    @initialize()
    def begin(self) -> None:
        self.model: list[Modelled] = []
        self.holds: dict[str, int | None] = dict.fromkeys(TABLETS)
        """What each tablet has installed."""
        self.code = uuid.uuid4().hex[:12]
        with db.transaction() as session:
            session.execute(text("UPDATE rollout SET state = 'expired'"))  # what former examples left running
            school = School(code=self.code, name="x")
            person = Operator(name=self.code, password_hash="", role=Role.ADMINISTRATOR, all_schools=True)
            session.add_all([school, person])
            session.flush()
            self.who = Principal(person.id, person.name, Role.ADMINISTRATOR, Scope(all_schools=True))
            self.ids = {}
            for letter in TABLETS:
                serial = f"{letter}{self.code}".upper()
                known = {"platform": "apple", "school_id": school.id, "state": LedgerState.ISSUED}
                device = Device(control_number=serial, serial=serial, updated_at=clock.now(), **known)
                session.add(device)
                session.flush()
                facts = {"supervised": True, "os_version": "26.1"}
                session.add(Enrollment(device_id=device.id, status=EnrollmentStatus.ACTIVE, **facts))
                self.ids[letter] = device.id

    def _place(self, tablet: str) -> str:
        return f"serial={tablet}{self.code}".upper().replace("SERIAL", "serial")

    def _wanted(self, tablet: str) -> int | None:
        spoken = [each.revision for each in self.model if each.speaks_to(tablet)]
        return spoken[-1] if spoken else None

    @rule(
        first=st.sets(st.sampled_from(TABLETS)), out=st.sets(st.sampled_from(TABLETS), max_size=2), whole=st.booleans()
    )
    def start(self, first: set[str], out: set[str], whole: bool) -> None:
        """Some tablets in a first wave, the rest in a second (if `whole`) or never; some left out."""
        first = (first - out) or {next(each for each in TABLETS if each not in out)}
        revision = len(self.model) + 1
        sections = {"web_filter": {"deny_list": [f"r{revision}.example.com"]}}
        document = read({"version": 1, "name": f"p-{self.code}", "layer": {"school": self.code}, **sections})
        places = [self._place(each) for each in sorted(first)]
        waves = Waves(kind="by_hand", lists=[places], rest="last" if whole else "never")
        exclude = tuple(self._place(each) for each in sorted(out))
        with db.transaction() as session:
            policies.apply(session, self.who, [document])
            options = rollouts.Options(exclude=exclude, waves=waves, thresholds=CALM)
            shown = rollouts.start(
                session, self.who, policy=document.name, target=f"school={self.code}", options=options
            )
        rest = set(TABLETS) - first - out if whole else set()
        made = ["".join(sorted(wave)) for wave in (first, rest) if wave]
        self._note()
        self.model.append(Modelled(shown.id, revision, whole, made, "".join(out) if whole else ""))

    @rule(data=st.data())
    def open_next(self, data) -> None:
        waiting = [each for each in self.model if each.state == "running" and each.opened < len(each.waves)]
        if not waiting:
            return
        each = data.draw(st.sampled_from(waiting))
        each.opened += 1
        with db.transaction() as session:
            rollouts.release_wave(session, self.who, each.id, each.opened)
        each.told |= set(each.waves[each.opened - 1])
        each.given = each.whole and each.opened == len(each.waves)

    @rule(tablets=SOME)
    def install(self, tablets: set[str]) -> None:
        """These tablets ask, and acknowledge all they should hold."""
        with db.transaction() as session:
            for each in tablets:
                session.execute(
                    text("UPDATE enrollment SET installed_manifest = desired_manifest WHERE device_id = :id"),
                    {"id": self.ids[each]},
                )
                self.holds[each] = self._held[each]

    @rule(data=st.data(), verb=st.sampled_from(["pause", "resume", "abort", "roll_back"]))
    def act(self, data, verb: str) -> None:
        if not self.model:
            return
        each = data.draw(st.sampled_from(self.model))
        now, since = {
            "pause": ("paused", {"running", "paused"}),
            "resume": ("running", {"paused", "running"}),
            "abort": ("aborted", {"running", "paused", "aborted"}),
            "roll_back": ("rolled_back", {"running", "paused", "aborted", "finished", "superseded", "rolled_back"}),
        }[verb]
        try:
            with db.transaction() as session:
                getattr(rollouts, verb)(session, self.who, each.id, reason="because")
        except Conflict:
            assert each.state not in since
            return
        assert each.state in since
        each.falling = each.falling or (now in STOPPED and each.state != now)
        each.state = now

    @rule()
    def look(self) -> None:
        """The worker does all there is to do, killed in between now and then."""
        with db.transaction() as session:
            rollouts.advance(session)
            targets.catch_up(session)
        for each in self.model:
            if each.falling:
                every = each.state == "rolled_back"
                each.has |= set() if every else {t for t in each.told if self._installed(t, each.revision)}
                each.told -= each.told if every else each.told - each.has
                each.falling = False
        self._note()

    def _installed(self, tablet: str, revision: int) -> bool:
        return self.holds[tablet] == revision == self._held[tablet]

    def _note(self) -> None:
        """What a look notes: who has installed what, and which rollouts are through."""
        for number, each in enumerate(self.model):
            if each.state not in ("running", "paused"):
                continue
            each.has |= {tablet for tablet in each.told if self._installed(tablet, each.revision)}
            if each.state == "paused":
                continue
            if any(later.given and later.state not in STOPPED for later in self.model[number + 1 :]):
                each.state = "superseded"
                continue
            lost = {tablet for tablet in each.told - each.has if self._held[tablet] != each.revision}
            if each.opened == len(each.waves) and each.told == each.has | lost:
                over = {tablet for tablet in each.told if self._held[tablet] != each.revision}
                each.state = "superseded" if over else "finished"

    @property
    def _held(self) -> dict[str, int | None]:
        """What each tablet should hold as its row says; between an act and the next look it may lag behind."""
        with db.transaction() as session:
            rows = session.execute(
                text(
                    "SELECT e.device_id, substring(encode(a.body, 'escape') FROM 'r([0-9]+).example.com')::int"
                    " FROM enrollment e LEFT JOIN manifest_item i ON i.manifest = e.desired_manifest"
                    " LEFT JOIN artifact a ON a.sha256 = i.artifact WHERE e.device_id = ANY(:ids)"
                ),
                {"ids": list(self.ids.values())},
            )
            found = dict(rows.all())
        return {tablet: found[device_id] for tablet, device_id in self.ids.items()}

    @invariant()
    def tablets_should_hold_what_the_model_says(self) -> None:
        if not getattr(self, "model", None) or any(each.falling for each in self.model):
            return
        assert self._held == {tablet: self._wanted(tablet) for tablet in TABLETS}

    @invariant()
    def rollouts_stand_where_the_model_says(self) -> None:
        if not getattr(self, "model", None):
            return
        with db.transaction() as session:
            rows = session.execute(
                text("SELECT id, state FROM rollout WHERE id = ANY(:ids)"), {"ids": [each.id for each in self.model]}
            )
            assert dict(rows.all()) == {each.id: each.state for each in self.model}


def test_rollouts_against_the_model(database: str) -> None:
    """Whatever happens in whatever order, every tablet should hold what a plain model says."""
    settings = hypothesis.settings(
        max_examples=15,
        stateful_step_count=15,
        # No shrinking: against a real database it takes minutes, and the steps are printed anyway.
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    run_state_machine_as_test(District, settings=settings)
