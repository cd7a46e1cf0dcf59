"""signed loosening and thaw"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

# The thresholds on the day of this migration: name, first value, whether a higher value is looser. One that is not
# named here takes a signature each time: adding a threshold takes a migration, and forgetting it fails closed.
THRESHOLDS = (
    ("a.operator.hour", 3, True),
    ("a.operator.day", 10, True),
    ("a.school.hour", 3, True),
    ("a.fleet.hour", 10, True),
    ("a.fleet.day", 25, True),
    ("b.operator.hour", 30, True),
    ("b.fleet.hour", 100, True),
    ("acts.operator.hour", 120, True),
    ("acts.fleet.hour", 600, True),
    ("accounts.operator.hour", 30, True),
    ("accounts.fleet.hour", 60, True),
    ("approvals.persons", 2, False),
    ("hold.minutes", 10, False),
    ("hold.lost_hours", 24, False),
    ("young.days", 7, False),
    ("elevated.hours", 72, False),
    ("breaker.wipes.hour", 10, True),
    ("breaker.refused", 3, True),
    ("breaker.schools", 3, True),
    ("campaign.stocktake_days", 30, True),
    ("campaign.cooling_hours", 24, False),
    ("campaign.wave.1", 10, True),
    ("campaign.wave.2", 100, True),
    ("campaign.wave.3", 500, True),
    ("campaign.failures_percent", 2, True),
    ("sims.at_once", 10, True),
    ("step_up.a_minutes", 5, True),
    ("step_up.b_minutes", 15, True),
)

_PATH = "SET search_path = pg_catalog, public, pg_temp"
_IS_OWNER = "pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')"
# By a key that the host pinned for an administrator of all schools: what an account may is a row like any other.
_COUNTS = "k.loosens AND k.pinned_at IS NOT NULL AND k.revoked_at IS NULL"
_FORMER_KEY_GUARD = f"""
    CREATE OR REPLACE FUNCTION approver_key_is_pinned_by_the_host() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
    BEGIN
        IF {_IS_OWNER} THEN
            RETURN NEW;
        END IF;
        IF TG_OP = 'INSERT' THEN
            IF NEW.pinned_at IS NOT NULL OR NEW.revoked_at IS NOT NULL THEN
                RAISE EXCEPTION 'only the host pins a key of an approver';
            END IF;
            NEW.added_at := now();
            RETURN NEW;
        END IF;
        IF (NEW.id, NEW.operator_id, NEW.kind, NEW.public_key, NEW.label, NEW.added_at)
                IS DISTINCT FROM (OLD.id, OLD.operator_id, OLD.kind, OLD.public_key, OLD.label, OLD.added_at)
            OR NEW.credential_id IS DISTINCT FROM OLD.credential_id
            OR NEW.pinned_at IS DISTINCT FROM OLD.pinned_at
            OR NEW.sign_count < OLD.sign_count
            OR (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
        THEN
            RAISE EXCEPTION 'only the host pins or changes a key of an approver';
        END IF;
        RETURN NEW;
    END $$;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    op.add_column("approver_key", sa.Column("loosens", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("threshold_request", sa.Column("key_id", sa.BigInteger(), nullable=True))
    op.add_column("threshold_request", sa.Column("signature", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_foreign_key(
        op.f("threshold_request_key_id_fkey"), "threshold_request", "approver_key", ["key_id"], ["id"]
    )
    op.add_column("breaker_event", sa.Column("asked_id", sa.BigInteger(), nullable=True))
    op.add_column("breaker_event", sa.Column("key_id", sa.BigInteger(), nullable=True))
    op.add_column("breaker_event", sa.Column("signature", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.create_foreign_key(op.f("breaker_event_asked_id_fkey"), "breaker_event", "breaker_event", ["asked_id"], ["id"])
    op.create_foreign_key(op.f("breaker_event_key_id_fkey"), "breaker_event", "approver_key", ["key_id"], ["id"])
    for table in ("safeguard_threshold", "breaker_event"):
        # What was decided before there were signatures stands.
        op.add_column(table, sa.Column("by_owner", sa.Boolean(), server_default="true", nullable=False))
        op.alter_column(table, "by_owner", server_default="false")
    op.create_index(
        "safeguard_threshold_request",
        "safeguard_threshold",
        ["request_id"],
        unique=True,
        postgresql_where=sa.text("request_id IS NOT NULL"),
    )
    _guard_keys()
    op.execute(
        "UPDATE approver_key k SET loosens = true FROM operator o"
        " WHERE o.id = k.operator_id AND k.pinned_at IS NOT NULL AND o.role = 'administrator' AND o.all_schools"
    )
    _guard_requests()
    _guard_thresholds()
    _guard_breaker()


def _guard_keys() -> None:
    """What 0018 says, and whether a key counts for loosening: as its holder was when the host pinned it."""
    op.execute(
        f"""
        CREATE OR REPLACE FUNCTION approver_key_is_pinned_by_the_host() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        BEGIN
            IF {_IS_OWNER} THEN
                IF NEW.pinned_at IS NOT NULL AND (TG_OP = 'INSERT' OR OLD.pinned_at IS NULL) THEN
                    NEW.loosens := (SELECT o.role = 'administrator' AND o.all_schools
                        FROM public.operator o WHERE o.id = NEW.operator_id);
                END IF;
                RETURN NEW;
            END IF;
            IF TG_OP = 'INSERT' THEN
                IF NEW.pinned_at IS NOT NULL OR NEW.revoked_at IS NOT NULL OR NEW.loosens THEN
                    RAISE EXCEPTION 'only the host pins a key of an approver';
                END IF;
                NEW.added_at := now();
                RETURN NEW;
            END IF;
            IF (NEW.id, NEW.operator_id, NEW.kind, NEW.public_key, NEW.label, NEW.added_at, NEW.loosens)
                    IS DISTINCT FROM
                    (OLD.id, OLD.operator_id, OLD.kind, OLD.public_key, OLD.label, OLD.added_at, OLD.loosens)
                OR NEW.credential_id IS DISTINCT FROM OLD.credential_id
                OR NEW.pinned_at IS DISTINCT FROM OLD.pinned_at
                OR NEW.sign_count < OLD.sign_count
                OR (OLD.revoked_at IS NOT NULL AND NEW.revoked_at IS DISTINCT FROM OLD.revoked_at)
            THEN
                RAISE EXCEPTION 'only the host pins or changes a key of an approver';
            END IF;
            IF NEW.revoked_at IS DISTINCT FROM OLD.revoked_at THEN
                NEW.revoked_at := now();
            END IF;
            RETURN NEW;
        END $$;
        """
    )


def _guard_requests() -> None:
    op.execute(
        f"""
        CREATE FUNCTION threshold_request_is_decided_once() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        BEGIN
            IF {_IS_OWNER} THEN
                RETURN NEW;
            END IF;
            IF TG_OP = 'INSERT' THEN
                IF NEW.state <> 'pending' THEN
                    RAISE EXCEPTION 'a request to loosen a threshold begins undecided';
                END IF;
                NEW.requested_at := now();
                NEW.decided_by := NULL;
                NEW.decided_at := NULL;
                NEW.key_id := NULL;
                NEW.signature := NULL;
                RETURN NEW;
            END IF;
            IF OLD.state <> 'pending'
                OR (NEW.id, NEW.name, NEW.value, NEW.before, NEW.reason, NEW.requested_by, NEW.requested_at,
                    NEW.expires_at) IS DISTINCT FROM (OLD.id, OLD.name, OLD.value, OLD.before, OLD.reason,
                    OLD.requested_by, OLD.requested_at, OLD.expires_at)
            THEN
                RAISE EXCEPTION 'a request to loosen a threshold is not changed, and decided once';
            END IF;
            IF NEW.state = 'approved' AND (NEW.signature IS NULL OR NEW.decided_by IS NULL
                OR NEW.decided_by = NEW.requested_by OR NOT EXISTS (
                    SELECT FROM public.approver_key k
                    WHERE k.id = NEW.key_id AND k.operator_id = NEW.decided_by AND {_COUNTS}))
            THEN
                RAISE EXCEPTION 'loosening needs the signature of a second administrator, by a pinned key';
            END IF;
            NEW.decided_at := now();
            RETURN NEW;
        END $$;
        CREATE TRIGGER threshold_request_decided BEFORE INSERT OR UPDATE ON threshold_request FOR EACH ROW
            EXECUTE FUNCTION threshold_request_is_decided_once();
        """
    )


def _guard_thresholds() -> None:
    facts = ", ".join(f"('{name}', {first}, {higher})" for name, first, higher in THRESHOLDS)
    op.execute(
        f"""
        CREATE FUNCTION safeguard_threshold_is_signed() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        DECLARE
            held integer;
            higher boolean;
        BEGIN
            NEW.by_owner := {_IS_OWNER};
            IF NEW.by_owner THEN
                RETURN NEW;
            END IF;
            NEW.set_at := now();
            SELECT f.first, f.higher INTO held, higher FROM (VALUES {facts}) f (name, first, higher)
                WHERE f.name = NEW.name;
            held := coalesce((SELECT t.value FROM public.safeguard_threshold t WHERE t.name = NEW.name
                ORDER BY t.id DESC LIMIT 1), held);
            IF (higher AND NEW.value <= held) OR (NOT higher AND NEW.value >= held) THEN
                RETURN NEW;
            END IF;
            IF NOT EXISTS (
                SELECT FROM public.threshold_request r
                    JOIN public.approver_key k ON k.id = r.key_id AND k.operator_id = r.decided_by
                WHERE r.id = NEW.request_id AND r.name = NEW.name AND r.value = NEW.value AND r.state = 'approved'
                    AND r.before IS NOT DISTINCT FROM coalesce(held, r.before) AND r.signature IS NOT NULL
                    AND r.decided_by <> r.requested_by AND {_COUNTS})
            THEN
                RAISE EXCEPTION 'loosening a safeguard needs the signature of a second administrator';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER safeguard_threshold_signed BEFORE INSERT ON safeguard_threshold FOR EACH ROW
            EXECUTE FUNCTION safeguard_threshold_is_signed();
        """
    )


def _guard_breaker() -> None:
    op.execute(
        f"""
        CREATE FUNCTION breaker_event_is_signed() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        BEGIN
            NEW.by_owner := {_IS_OWNER};
            IF NEW.by_owner THEN
                RETURN NEW;
            END IF;
            NEW.at := statement_timestamp();
            IF NEW.what = 'thawed' AND (NEW.signature IS NULL OR NOT EXISTS (
                SELECT FROM public.breaker_event a
                    JOIN public.approver_key k ON k.id = NEW.key_id AND k.operator_id = NEW.operator_id
                WHERE a.id = NEW.asked_id AND a.what = 'thaw_asked' AND a.operator_id <> NEW.operator_id
                    AND {_COUNTS}))
            THEN
                RAISE EXCEPTION 'a thaw needs the signature of a second administrator';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER breaker_event_signed BEFORE INSERT ON breaker_event FOR EACH ROW
            EXECUTE FUNCTION breaker_event_is_signed();
        """
    )


def downgrade() -> None:
    for table, trigger, function in (
        ("breaker_event", "breaker_event_signed", "breaker_event_is_signed"),
        ("safeguard_threshold", "safeguard_threshold_signed", "safeguard_threshold_is_signed"),
        ("threshold_request", "threshold_request_decided", "threshold_request_is_decided_once"),
    ):
        op.execute(f"DROP TRIGGER {trigger} ON {table}")
        op.execute(f"DROP FUNCTION {function}")
    op.execute(_FORMER_KEY_GUARD)
    op.drop_index("safeguard_threshold_request", table_name="safeguard_threshold")
    for table in ("safeguard_threshold", "breaker_event"):
        op.drop_column(table, "by_owner")
    for table, columns in (
        ("breaker_event", ("signature", "key_id", "asked_id")),
        ("threshold_request", ("signature", "key_id")),
        ("approver_key", ("loosens",)),
    ):
        for column in columns:
            op.drop_column(table, column)
