"""The database's own guard of campaigns, for a process that is not its owner and forgets every rule."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlmodel import Session

from mdm.settings import get_settings
from workers import campaigns

pytestmark = pytest.mark.usefixtures("small")


@pytest.fixture
def stolen(session: Session):
    """Run SQL as a role that may write every table and owns none; nothing of it stays."""

    def run(*statements: str) -> None:
        session.rollback()
        session.execute(text("CREATE ROLE tabane_stolen"))
        session.execute(text("GRANT USAGE ON SCHEMA public TO tabane_stolen"))
        session.execute(text("GRANT ALL ON ALL TABLES IN SCHEMA public TO tabane_stolen"))
        session.execute(text("GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO tabane_stolen"))
        session.execute(text("SET ROLE tabane_stolen"))
        try:
            for statement in statements:
                session.execute(text(statement))
        finally:
            session.rollback()

    return run


SIGN = (
    "INSERT INTO campaign_signature (campaign_id, side, operator_id, key_id, signature) SELECT c.id, '{side}', o.id,"
    " k.id, '{{}}' FROM campaign c, operator o JOIN approver_key k ON k.operator_id = o.id WHERE o.name = '{name}'"
)
REFUSED = {
    "another list": ("UPDATE campaign_tablet SET epoch = 2", "is not changed"),
    "another wipe": ("UPDATE campaign_tablet SET command_id = uuidv7() WHERE command_id IS NOT NULL", "is not changed"),
    "a tablet more": (
        (
            "INSERT INTO campaign_tablet (campaign_id, device_id, serial, control_number, school, epoch, evidence_id,"
            " scanned_at) SELECT id, 1, 'S', 'C', 'E1', 1, 1, now() FROM campaign"
        ),
        "written down with its request",
    ),
    "a tablet less": ("DELETE FROM campaign_tablet", "is kept as it is"),
    "another window": ("UPDATE campaign SET \"window\" = '{}'", "is not changed"),
    "another digest": ("UPDATE campaign SET digest = 'x'", "is not changed"),
    "signed earlier": ("UPDATE campaign_signature SET signed_at = now() - interval '1 day'", "is kept as it is"),
    "unsigned": ("DELETE FROM campaign_signature", "is kept as it is"),
    "gone": ("DELETE FROM campaign", "kept as it is"),
    "a wipe that leaves": ("UPDATE command SET state = 'queued' WHERE kind = 'wipe'", "only the sender"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_was_signed_stands(approved, stolen, what):
    """The list, the request and its signatures are not changed, and the sender alone lets wipes leave."""
    campaigns.bring_forward()
    statement, why = REFUSED[what]
    with pytest.raises(DBAPIError, match=why):
        stolen(statement)


def test_signatures_are_of_others_with_pinned_keys(requested, boss, board, contractor, stolen, sql):
    """Not the asker's, not for another side, not by somebody else's or an unpinned key; and one side is not enough."""
    for each in (boss, board, contractor):
        each.signer.pinned(get_settings().database_url)
    wrong = "signed by another person of that organization"
    for side, name in (("board", "boss"), ("contractor", "mieko"), ("board", "kenji")):
        with pytest.raises(DBAPIError, match=wrong):
            stolen(SIGN.format(side=side, name=name))
    stolen(SIGN.format(side="board", name="mieko"))
    with pytest.raises(DBAPIError, match=wrong):
        stolen("UPDATE approver_key SET revoked_at = now()", SIGN.format(side="board", name="mieko"))
    with pytest.raises(DBAPIError, match="signatures of two organizations"):
        stolen(SIGN.format(side="board", name="mieko"), "UPDATE campaign SET state = 'approved'")
    stolen(
        SIGN.format(side="board", name="mieko"),
        SIGN.format(side="contractor", name="kenji"),
        "UPDATE campaign SET state = 'approved'",
    )


def test_what_is_over_does_not_come_back(requested, boss, stolen):
    """An ended campaign stays ended, and nothing begins approved."""
    assert boss.post(f"/campaigns/{requested}/abort", {}).status_code == 200
    with pytest.raises(DBAPIError, match="does not come back"):
        stolen("UPDATE campaign SET state = 'running'")


def test_a_wipe_without_two_signatures_leaves_by_nobody(approved, sql):
    """Not even the owner's hand lets a campaign's wipe leave when a signature is gone."""
    campaigns.bring_forward()
    sql("DELETE FROM campaign_signature WHERE side = 'board'")
    with pytest.raises(DBAPIError, match="approval of a second person"):
        sql("UPDATE command SET state = 'queued'")
