"""The command auditor derives anew that a campaign's wipes were signed, in time and in waves; forgeries are found."""

import pytest

from mdm import db
from mdm.auditor import commands
from mdm.safeguards import keys, signing
from tests.mdm_campaigns.conftest import Campaign
from tests.tampering import tamper

pytestmark = pytest.mark.usefixtures("small")


def _faults() -> set[str]:
    with db.transaction() as session:
        return {finding.fault.value for finding in commands.examine(session, commands.EVER).findings}


@pytest.fixture
def running(requested, boss, board, contractor, sql):
    """A campaign whose keys the host has pinned on record, with a first wave that left."""
    for each in (board, contractor):
        sql(
            "INSERT INTO approver_key (operator_id, kind, public_key, label) SELECT id, 'software',"
            f" '\\x{each.signer.public_key.hex()}', '' FROM operator WHERE name = '{each.name}'"
        )
        with db.transaction() as session:
            keys.pin(session, signing.fingerprint(each.signer.public_key))
        each.signer.id = sql(f"SELECT id FROM approver_key WHERE public_key = '\\x{each.signer.public_key.hex()}'")[0][
            0
        ]
        assert each.sign(requested).status_code == 200
    campaign = Campaign(boss, sql, requested)
    assert campaign.round() == {"left": 2}
    return campaign


def test_all_is_well(running):
    """What was asked for, signed twice and let go in order is no finding, after several waves."""
    assert _faults() == set()
    running.answer()
    assert _faults() == set()


FORGERIES = {
    "another list": ("UPDATE campaign_tablet SET epoch = 9 WHERE control_number = 'R012'", {"changed"}),
    "another digest": ("UPDATE campaign SET digest = 'x'", {"changed", "not_signed", "not_on_record"}),
    "one signature": ("DELETE FROM campaign_signature WHERE side = 'board'", {"alone"}),
    "noise": ("UPDATE campaign_signature SET signature = '{}' WHERE side = 'board'", {"not_signed"}),
    "a key of nobody's": (
        "UPDATE approver_key SET public_key = 'x' WHERE id = (SELECT max(id) FROM approver_key)",
        {"not_signed", "key_not_on_record"},
    ),
    "signed too late": (
        "UPDATE campaign_signature SET signed_at = now() + interval '2 days' WHERE side = 'board'",
        {"out_of_time"},
    ),
    "outside its window": (
        "UPDATE class_a_release SET at = at - interval '30 days'",
        {"out_of_time"},
    ),
    "not by the sender": ("DELETE FROM class_a_release", {"not_let_go"}),
    "another kind": ("UPDATE command SET kind = 'raw'", {"other_subject"}),
    "another asker": (
        "UPDATE command SET created_by = (SELECT id FROM operator WHERE name = 'mieko')",
        {"other_requester"},
    ),
    "no campaign at all": (
        "UPDATE campaign_tablet SET command_id = NULL",
        {"no_approval"},
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forgery_is_found(running, forgery):
    """Each way in which the owner of the database could have made it look right."""
    statement, faults = FORGERIES[forgery]
    tamper(*statement.split(";"))
    assert faults <= _faults()


def test_two_waves_in_an_hour_are_found(running):
    """Had the second wave left with the first, three of its wipes were too many."""
    running.answer()
    running.pass_time()
    assert running.round() == {"left": 3}
    assert _faults() == set()
    tamper("UPDATE class_a_release SET at = (SELECT max(at) FROM class_a_release)")
    assert _faults() == {"over_wave"}


def test_a_record_that_only_says_campaign_is_counted(running):
    """Releases that name a campaign which does not hold them count against the budgets."""
    tamper(
        "UPDATE campaign_tablet SET command_id = NULL",
        "INSERT INTO safeguard_threshold (name, value, set_at, set_by, reason)"
        " VALUES ('a.fleet.hour', 1, now() - interval '1 day', 'host', '')",
    )
    assert "over_budget" in _faults()
