"""What tests of rollouts share: small steps through the rules, and what tablets should hold as revisions."""

from sqlalchemy import text

from profiles import policies, rollouts, targets
from profiles.policy import read
from profiles.rollouts.thresholds import Thresholds
from profiles.rollouts.waves import Waves

SWIFT = Thresholds(soak_s=0, proof=False)
"""The next wave as soon as this one has settled."""
SHARP = Thresholds(soak_s=0, pulse_after_s=0, silent_after_s=0, proof=True)
"""And every tablet has to show at once that it lives."""
SECTIONS = {1: {"external_storage": "deny"}, 2: {"host_pairing": "deny"}, 3: {}}


def apply(district, name="district", layer="fleet", **sections):
    """Store the next revision of a policy."""
    document = read({"version": 1, "name": name, "layer": layer, **sections})
    return policies.apply(district.session, district.principal, [document])[0].revision


def two_revisions(district):
    """Revision 1 is everywhere, revision 2 nowhere."""
    apply(district, usb=SECTIONS[1])
    first = start(district)
    district.install_everything(*district.tablets)
    assert rollouts.advance(district.session) == 1
    apply(district, usb=SECTIONS[2])
    district.session.commit()
    return first.id


def start(district, target="fleet", *, policy="district", revision=None, principal=None, **options):
    """Start a rollout; `waves` may be given as a document."""
    if isinstance(options.get("waves"), dict):
        options["waves"] = Waves(**options["waves"])
    found = rollouts.start(
        district.session,
        principal or district.principal,
        policy=policy,
        target=target,
        revision=revision,
        options=rollouts.Options(**options),
    )
    district.session.commit()
    return found


def show(district, rollout_id):
    return rollouts.show(district.session, district.principal, rollout_id)


def go_on(district, *, installing=()):
    """Let tablets install what they should, then the worker look at everything until nothing is left to do."""
    district.install_everything(*installing)
    ids = [district.tablets[serial] for serial in installing]
    district.session.execute(text("DELETE FROM wakeup WHERE device_id = ANY(:ids)"), {"ids": ids})
    district.session.commit()
    ended = rollouts.advance(district.session)
    district.session.commit()
    ended += rollouts.advance(district.session)  # what was opened by the first look is told by the second
    district.session.commit()
    return ended


def revisions(district, policy="district"):
    """Which revision of a policy each tablet should hold, as its manifest stands; None: none."""
    session = district.session
    number = session.execute(text("SELECT id FROM policy WHERE name = :name"), {"name": policy}).scalar_one()
    serials = {device_id: serial for serial, device_id in district.tablets.items()}
    found = dict.fromkeys(district.tablets)
    for group in targets.groups(session, list(serials)):
        assert not group.changes, "what tablets should hold was not brought up to what speaks to them"
        for device_id in group.device_ids:
            found[serials[device_id]] = dict(group.chain).get(number)
    return found


def holding(district, revision, policy="district"):
    """The serials of the tablets that should hold a revision, in one word."""
    return "".join(sorted(serial for serial, has in revisions(district, policy).items() if has == revision))


def waiting(district):
    """The serials of the tablets that may be woken now or later, in one word."""
    rows = district.session.execute(
        text(
            "SELECT d.serial FROM wakeup w JOIN device d ON d.id = w.device_id"
            " WHERE w.closes_at IS NULL OR w.closes_at > now() ORDER BY 1"
        )
    )
    return "".join(serial for (serial,) in rows)


def refuse(district, *serials):
    """As if these tablets had refused every artifact they should hold."""
    for serial in serials:
        district.session.execute(
            text(
                "INSERT INTO device_profile (device_id, identifier, wanted, status, error)"
                " SELECT e.device_id, i.identifier, i.artifact, 'failed', '[{\"USEnglishDescription\": \"no room\"}]'"
                " FROM enrollment e JOIN manifest_item i ON i.manifest = e.desired_manifest WHERE e.device_id = :id"
                " ON CONFLICT (device_id, identifier) DO UPDATE SET wanted = EXCLUDED.wanted, status = 'failed'"
            ),
            {"id": district.tablets[serial]},
        )
    district.session.commit()


def be_heard(district, *serials):
    """As if these tablets had asked for work just now."""
    district.session.commit()
    district.session.execute(
        text("UPDATE enrollment SET last_seen_at = clock_timestamp() WHERE device_id = ANY(:ids)"),
        {"ids": [district.tablets[serial] for serial in serials]},
    )
    district.session.commit()
