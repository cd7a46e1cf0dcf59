"""campaigns of bulk wipes"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0032"
down_revision = "0031"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_JSON = postgresql.JSONB(astext_type=sa.Text())
# Without a path of their own the functions would read a temporary table of the session that changes the row.
_PATH = "SET search_path = pg_catalog, public, pg_temp"
_IS_OWNER = "pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')"

_BY_APPROVAL = """
        SELECT EXISTS (
            SELECT FROM public.approval a
                JOIN public.approver_key k ON k.id = a.key_id AND k.operator_id = a.decided_by
            WHERE a.id = command.approval_id AND a.state = 'approved' AND a.decided_by <> a.requested_by
                AND a.signature IS NOT NULL AND k.pinned_at IS NOT NULL AND k.revoked_at IS NULL
                AND a.subject -> 'command' = jsonb_build_object('id', command.id::text, 'kind', command.kind,
                    'arguments', command.arguments, 'epoch', command.epoch)
                AND a.subject -> 'devices' @> jsonb_build_array(jsonb_build_object('id', command.device_id)))
"""
_BY_CAMPAIGN = """
        OR EXISTS (
            SELECT FROM public.campaign_tablet t JOIN public.campaign c ON c.id = t.campaign_id
            WHERE t.command_id = command.id AND t.device_id = command.device_id AND t.epoch = command.epoch
                AND command.kind = 'wipe' AND command.arguments = c.arguments AND command.approval_id IS NULL
                AND c.state IN ('approved', 'running')
                AND (SELECT count(DISTINCT s.operator_id) FROM public.campaign_signature s
                        JOIN public.approver_key k ON k.id = s.key_id AND k.operator_id = s.operator_id
                    WHERE s.campaign_id = c.id AND s.operator_id <> c.requested_by
                        AND k.pinned_at IS NOT NULL AND k.revoked_at IS NULL) = 2)
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    _tables()
    _guard_campaigns()
    _guard_tablets()
    _guard_signatures()
    _sign_commands(_BY_APPROVAL + _BY_CAMPAIGN)
    _hold_to_the_ledger()


def _tables() -> None:
    op.create_table(
        "campaign",
        sa.Column("id", sa.Uuid(), server_default=sa.text("uuidv7()"), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("reason", sa.String(length=400), nullable=False),
        sa.Column("filter", _JSON, nullable=False),
        sa.Column("window", _JSON, nullable=False),
        sa.Column("arguments", _JSON, nullable=False),
        sa.Column("tablets", sa.Integer(), nullable=False),
        sa.Column("snapshot", sa.LargeBinary(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("left_out", _JSON, nullable=False),
        sa.Column("school_ids", postgresql.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("state", sa.String(length=16), server_default="requested", nullable=False),
        sa.Column("requested_by", sa.BigInteger(), nullable=False),
        sa.Column("requested_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.Column("started_at", _MOMENT, nullable=True),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        sa.Column("tolerated", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["requested_by"], ["operator.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index(
        "campaign_live",
        "campaign",
        ["id"],
        postgresql_where=sa.text("state IN ('requested', 'approved', 'running', 'paused')"),
    )
    op.create_table(
        "campaign_signature",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("side", sa.String(length=16), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.BigInteger(), nullable=False),
        sa.Column("signature", _JSON, nullable=False),
        sa.Column("signed_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("side IN ('board', 'contractor')", name="campaign_signature_side"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"]),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"]),
        sa.ForeignKeyConstraint(["key_id"], ["approver_key.id"]),
        sa.PrimaryKeyConstraint("campaign_id", "side"),
    )
    op.create_table(
        "campaign_tablet",
        sa.Column("campaign_id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=False),
        sa.Column("serial", sa.String(length=32), nullable=False),
        sa.Column("control_number", sa.String(length=32), nullable=False),
        sa.Column("school", sa.String(length=32), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("evidence_id", sa.BigInteger(), nullable=False),
        sa.Column("scanned_at", _MOMENT, nullable=False),
        sa.Column("scanned_in", sa.BigInteger(), nullable=True),
        sa.Column("holder_id", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), server_default="waiting", nullable=False),
        sa.Column("reason", sa.String(length=40), server_default="", nullable=False),
        sa.Column("wave", sa.SmallInteger(), nullable=True),
        sa.Column("command_id", sa.Uuid(), nullable=True),
        sa.Column("left_at", _MOMENT, nullable=True),
        sa.Column("delivered_at", _MOMENT, nullable=True),
        sa.Column("ended_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaign.id"]),
        sa.PrimaryKeyConstraint("campaign_id", "device_id"),
    )
    op.create_index(
        "campaign_tablet_command",
        "campaign_tablet",
        ["command_id"],
        unique=True,
        postgresql_where=sa.text("command_id IS NOT NULL"),
    )
    op.create_index(
        "campaign_tablet_open",
        "campaign_tablet",
        ["device_id"],
        postgresql_where=sa.text("state IN ('waiting', 'held', 'sent')"),
    )


def _guard_campaigns() -> None:
    """A campaign begins unsigned, what was asked for is never changed, and what is over does not come back."""
    op.execute(
        f"""
        CREATE FUNCTION campaign_is_what_was_signed() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        DECLARE
            over constant text[] := ARRAY['ended', 'aborted', 'expired', 'refused'];
            sides integer;
        BEGIN
            IF {_IS_OWNER} THEN
                RETURN NEW;
            END IF;
            IF TG_OP = 'INSERT' THEN
                IF NEW.state <> 'requested' THEN
                    RAISE EXCEPTION 'a campaign begins with a request';
                END IF;
                NEW.requested_at := now();
                RETURN NEW;
            END IF;
            IF (NEW.id, NEW.name, NEW.reason, NEW.filter, NEW."window", NEW.arguments, NEW.tablets, NEW.snapshot,
                    NEW.digest, NEW.left_out, NEW.school_ids, NEW.requested_by, NEW.requested_at, NEW.expires_at)
                IS DISTINCT FROM (OLD.id, OLD.name, OLD.reason, OLD.filter, OLD."window", OLD.arguments, OLD.tablets,
                    OLD.snapshot, OLD.digest, OLD.left_out, OLD.school_ids, OLD.requested_by, OLD.requested_at,
                    OLD.expires_at)
            THEN
                RAISE EXCEPTION 'what was asked for of a campaign is not changed';
            END IF;
            IF OLD.state = ANY (over) AND NEW.state <> OLD.state THEN
                RAISE EXCEPTION 'a campaign that is over does not come back';
            END IF;
            IF NEW.state IN ('approved', 'running', 'paused') AND OLD.state = 'requested' THEN
                SELECT count(*) INTO sides FROM public.campaign_signature s WHERE s.campaign_id = NEW.id;
                IF sides < 2 OR NEW.state <> 'approved' THEN
                    RAISE EXCEPTION 'a campaign needs the signatures of two organizations';
                END IF;
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER campaign_signed BEFORE INSERT OR UPDATE ON campaign FOR EACH ROW
            EXECUTE FUNCTION campaign_is_what_was_signed();
        """
    )


def _guard_tablets() -> None:
    """The list is written down with its request and stands; a wipe is named once."""
    op.execute(
        f"""
        CREATE FUNCTION campaign_tablet_is_what_was_signed() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        BEGIN
            IF {_IS_OWNER} THEN
                RETURN NEW;
            END IF;
            IF TG_OP = 'INSERT' THEN
                IF NEW.state <> 'waiting' OR NEW.command_id IS NOT NULL OR NOT EXISTS (
                    SELECT FROM public.campaign c WHERE c.id = NEW.campaign_id AND c.state = 'requested'
                        AND NOT EXISTS (SELECT FROM public.campaign_signature s WHERE s.campaign_id = c.id))
                THEN
                    RAISE EXCEPTION 'the list of a campaign is written down with its request';
                END IF;
                RETURN NEW;
            END IF;
            IF (NEW.campaign_id, NEW.device_id, NEW.serial, NEW.control_number, NEW.school, NEW.epoch, NEW.evidence_id,
                    NEW.scanned_at, NEW.scanned_in, NEW.holder_id)
                IS DISTINCT FROM (OLD.campaign_id, OLD.device_id, OLD.serial, OLD.control_number, OLD.school, OLD.epoch,
                    OLD.evidence_id, OLD.scanned_at, OLD.scanned_in, OLD.holder_id)
                OR (OLD.command_id IS NOT NULL AND NEW.command_id IS DISTINCT FROM OLD.command_id)
            THEN
                RAISE EXCEPTION 'the list of a campaign is not changed';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER campaign_tablet_signed BEFORE INSERT OR UPDATE ON campaign_tablet FOR EACH ROW
            EXECUTE FUNCTION campaign_tablet_is_what_was_signed();
        """
    )


def _guard_signatures() -> None:
    """A signature is given once, now, by a pinned key of somebody who did not ask, for an organization of their own."""
    op.execute(
        f"""
        CREATE FUNCTION campaign_signature_is_of_another() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        BEGIN
            IF {_IS_OWNER} THEN
                RETURN NEW;
            END IF;
            IF NOT EXISTS (
                SELECT FROM public.campaign c
                    JOIN public.operator o ON o.id = NEW.operator_id AND o.id <> c.requested_by
                    JOIN public.approver_key k ON k.id = NEW.key_id AND k.operator_id = o.id
                    LEFT JOIN public.organization g ON g.id = o.organization_id
                WHERE c.id = NEW.campaign_id AND c.state = 'requested' AND c.expires_at > now()
                    AND k.pinned_at IS NOT NULL AND k.revoked_at IS NULL AND coalesce(g.tier, 'board') = NEW.side)
            THEN
                RAISE EXCEPTION 'a campaign is signed by another person of that organization, with a pinned key';
            END IF;
            NEW.signed_at := now();
            RETURN NEW;
        END $$;
        CREATE TRIGGER campaign_signature_given BEFORE INSERT ON campaign_signature FOR EACH ROW
            EXECUTE FUNCTION campaign_signature_is_of_another();
        CREATE FUNCTION campaign_is_kept() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        BEGIN
            IF {_IS_OWNER} THEN
                RETURN CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END;
            END IF;
            RAISE EXCEPTION '% is kept as it is', TG_TABLE_NAME;
        END $$;
        CREATE TRIGGER campaign_signature_kept BEFORE UPDATE OR DELETE ON campaign_signature FOR EACH ROW
            EXECUTE FUNCTION campaign_is_kept();
        CREATE TRIGGER campaign_tablet_kept BEFORE DELETE ON campaign_tablet FOR EACH ROW
            EXECUTE FUNCTION campaign_is_kept();
        CREATE TRIGGER campaign_kept BEFORE DELETE ON campaign FOR EACH ROW
            EXECUTE FUNCTION campaign_is_kept();
        """
    )


def _sign_commands(condition: str) -> None:
    """Say by what a command of class A may leave."""
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION command_class_a_is_signed(command public.command) RETURNS boolean
            LANGUAGE sql STABLE {_PATH} AS $$ {condition} $$;
        """
    )


def _hold_to_the_ledger() -> None:
    """Whoever gives a returned tablet out again ends its wipe in the same transaction, whatever process it is."""
    op.execute(
        f"""
        CREATE FUNCTION device_leaves_campaign() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER {_PATH} AS $$
        BEGIN
            WITH over AS (
                UPDATE public.command c SET state = 'cancelled', ended_at = now() FROM public.campaign_tablet t
                WHERE t.device_id = NEW.id AND t.state IN ('waiting', 'held', 'sent') AND c.id = t.command_id
                    AND c.state IN ('held', 'queued', 'sent', 'not_now')
                RETURNING c.id
            )
            INSERT INTO public.command_event (command_id, state, note)
                SELECT id, 'cancelled', 'the ledger has it as returned no more' FROM over;
            RETURN NULL;
        END $$;
        CREATE TRIGGER device_leaves_campaign AFTER UPDATE OF state, holder_id, serial ON device FOR EACH ROW
            WHEN (OLD.state = 'returned' AND (NEW.state, NEW.holder_id, NEW.serial)
                IS DISTINCT FROM (OLD.state, OLD.holder_id, OLD.serial))
            EXECUTE FUNCTION device_leaves_campaign();
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER device_leaves_campaign ON device")
    op.execute("DROP FUNCTION device_leaves_campaign")
    _sign_commands(_BY_APPROVAL)
    op.drop_table("campaign_tablet")
    op.drop_table("campaign_signature")
    op.drop_table("campaign")
    for function in (
        "campaign_is_kept",
        "campaign_signature_is_of_another",
        "campaign_tablet_is_what_was_signed",
        "campaign_is_what_was_signed",
    ):
        op.execute(f"DROP FUNCTION {function}")
