"""Android tablets of the ledger among the tablets that policies speak to."""

import json

from sqlalchemy import text

from mdm.commands import artifacts
from mdm.devices.models import Device
from profiles import policies, rollouts
from profiles.android.discovery import faults
from profiles.policy import read


def test_an_android_tablet_waits_with_its_own_policy(district, session):
    """One rollout to the fleet gives each platform what its compiler makes; who is not enrolled is not woken."""
    tablet = session.get(Device, district.add_tablet("R", "0101", active=False, supervised=None, os_version=""))
    tablet.platform = "android"
    session.add(tablet)
    session.flush()
    policy = read({"version": 1, "name": "district", "layer": "fleet", "usb": {"bluetooth": "deny"}})
    policies.apply(session, district.principal, [policy])
    rollouts.start(session, district.principal, policy="district", target="fleet")
    held = artifacts.items(session, district.enrollment("R").desired_manifest)
    assert list(held) == ["tabane.policy.android"]
    (body,) = session.execute(text("SELECT body FROM artifact WHERE platform = 'android'")).scalars()
    assert json.loads(bytes(body))["bluetoothDisabled"] is True
    assert faults(json.loads(bytes(body))) == []
    woken = session.execute(text("SELECT device_id FROM wakeup")).scalars().all()
    assert tablet.id not in woken
