"""A small invented district for the tests of this room."""

import itertools
import sys
from dataclasses import dataclass, field

import pytest
from sqlmodel import Session

from mdm import cli, clock, vault
from mdm.app import operator_app
from mdm.auth import CredentialKind, Principal, Role, Scope, credentials
from mdm.auth.models import Operator, OperatorSchool
from mdm.devices.models import Device, Enrollment, EnrollmentStatus, LedgerState
from mdm.organization.models import Holder, School, SchoolClass
from tests.serving import serving

_NUMBERS = itertools.count(1)


@dataclass
class District:
    """Two schools of one class each; `a` to `c` in the first (c without a holder), `d` in the second."""

    session: Session
    schools: dict[str, int] = field(default_factory=dict)
    classes: dict[str, int] = field(default_factory=dict)
    tablets: dict[str, int] = field(default_factory=dict)
    principal: Principal = field(init=False)

    def add_school(self, code):
        school = School(code=code, name=f"School {code}")
        self.session.add(school)
        self.session.flush()
        self.schools[code] = school.id
        room = SchoolClass(school_id=school.id, year=6, name="1")
        self.session.add(room)
        self.session.flush()
        self.classes[code] = room.id

    def add_tablet(self, serial, school, *, held=True, active=True, **facts):
        holder = None
        if held:
            holder = Holder(
                school_id=self.schools[school],
                class_id=self.classes[school],
                user_id=f"u-{serial}",
                name_sealed=vault.seal("holder.name", b"invented"),
            )
            self.session.add(holder)
            self.session.flush()
        device = Device(
            control_number=f"N-{serial}",
            serial=serial,
            platform="apple",
            school_id=self.schools[school],
            holder_id=holder.id if holder else None,
            state=LedgerState.ISSUED,
            updated_at=clock.now(),
        )
        self.session.add(device)
        self.session.flush()
        status = EnrollmentStatus.ACTIVE if active else EnrollmentStatus.ABSENT
        known = {"supervised": True, "os_version": "26.1"} | facts
        self.session.add(Enrollment(device_id=device.id, status=status, **known))
        self.session.flush()
        self.tablets[serial] = device.id
        return device.id

    def enrollment(self, serial):
        self.session.flush()
        self.session.expire_all()
        return self.session.get(Enrollment, self.tablets[serial])

    def operator(self, *codes, role=Role.ADMINISTRATOR):
        name = f"op{next(_NUMBERS)}-{role.value}"
        row = Operator(name=name, password_hash="x", role=role, all_schools=not codes, created_at=clock.now())
        self.session.add(row)
        self.session.flush()
        for code in codes:
            self.session.add(OperatorSchool(operator_id=row.id, school_id=self.schools[code]))
        self.session.flush()
        scope = Scope(all_schools=not codes, school_ids=frozenset(self.schools[code] for code in codes))
        return Principal(row.id, name, role, scope, CredentialKind.SESSION)

    def install_everything(self, *serials):
        """As if these tablets had acknowledged all they should hold."""
        for serial in serials:
            row = self.enrollment(serial)
            row.installed_manifest = row.desired_manifest
            self.session.add(row)
        self.session.flush()


@pytest.fixture
def district(session) -> District:
    """The district, with an administrator of all schools as `principal`."""
    made = District(session)
    for code in ("0101", "0102"):
        made.add_school(code)
    made.add_tablet("A", "0101")
    made.add_tablet("B", "0101")
    made.add_tablet("C", "0101", held=False)
    made.add_tablet("D", "0102")
    made.principal = made.operator()
    return made


@pytest.fixture
def server(database):
    """The operator app on a free port."""
    with serving(operator_app()) as url:
        yield url


@pytest.fixture
def tabane(server, district, session, monkeypatch, capsys):
    """Run the command as an administrator: returns status, standard output and standard error."""
    issued = credentials.open_session(session, district.principal.id)
    session.commit()
    monkeypatch.setenv("TABANE_URL", server)
    monkeypatch.setenv("TABANE_TOKEN", issued.secret)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["tabane", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        shown = capsys.readouterr()
        return ended.value.code or 0, shown.out, shown.err

    return run
