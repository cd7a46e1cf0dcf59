"""approver keys and signed approvals"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)

# Functions of triggers run in the session of whoever changes a row: without a path of their own, a temporary table of
# that session would be read instead of ours. The owner of the table passes, because it is who migrates and mends.
_PATH = "SET search_path = pg_catalog, public, pg_temp"
_IS_OWNER = "pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE')"


def upgrade() -> None:
    op.create_table(
        "approver_key",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("credential_id", sa.LargeBinary(), nullable=True),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("added_at", _MOMENT, server_default=sa.text("now()"), nullable=False),
        sa.Column("pinned_at", _MOMENT, nullable=True),
        sa.Column("revoked_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("credential_id"),
        sa.UniqueConstraint("public_key"),
    )
    op.create_index(op.f("ix_approver_key_operator_id"), "approver_key", ["operator_id"])
    op.add_column("approval", sa.Column("urgent", sa.Boolean(), server_default="false", nullable=False))
    op.add_column("approval", sa.Column("key_id", sa.BigInteger(), nullable=True))
    op.add_column("approval", sa.Column("signature", postgresql.JSONB(astext_type=sa.Text()), nullable=True))
    op.add_column("approval", sa.Column("executed_at", _MOMENT, nullable=True))
    op.create_foreign_key(op.f("approval_key_id_fkey"), "approval", "approver_key", ["key_id"], ["id"])
    _guard_keys()
    _guard_approvals()


def _guard_keys() -> None:
    op.execute(
        f"""
        CREATE FUNCTION approver_key_is_pinned_by_the_host() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
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
        CREATE TRIGGER approver_key_pinned BEFORE INSERT OR UPDATE ON approver_key FOR EACH ROW
            EXECUTE FUNCTION approver_key_is_pinned_by_the_host();
        """
    )


def _guard_approvals() -> None:
    """A request is made pending, and approved only with a signature by a pinned key of the one who decides.

    The former version asks for no signature: while it still runs, nothing can be approved. That is meant.
    """
    op.execute(
        f"""
        CREATE FUNCTION approval_is_decided_once() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
        DECLARE
            owner boolean := {_IS_OWNER};
        BEGIN
            IF TG_OP = 'INSERT' THEN
                IF NEW.state <> 'pending' AND NOT owner THEN
                    RAISE EXCEPTION 'a request for approval begins undecided';
                END IF;
                IF NOT owner THEN
                    NEW.requested_at := now();
                    NEW.decided_by := NULL;
                    NEW.decided_at := NULL;
                    NEW.key_id := NULL;
                    NEW.signature := NULL;
                    NEW.executed_at := NULL;
                END IF;
                RETURN NEW;
            END IF;
            IF NOT owner AND (
                (NEW.id, NEW.action, NEW.subject, NEW.digest, NEW.reason, NEW.requested_by, NEW.requested_at,
                    NEW.expires_at) IS DISTINCT FROM (OLD.id, OLD.action, OLD.subject, OLD.digest, OLD.reason,
                    OLD.requested_by, OLD.requested_at, OLD.expires_at)
                OR (OLD.state <> 'pending' AND (NEW.state, NEW.decided_by, NEW.decided_at, NEW.urgent, NEW.key_id,
                    NEW.signature) IS DISTINCT FROM (OLD.state, OLD.decided_by, OLD.decided_at, OLD.urgent, OLD.key_id,
                    OLD.signature))
                OR (NEW.executed_at IS DISTINCT FROM OLD.executed_at
                    AND NOT coalesce(pg_has_role(current_user, to_regrole('tabane_sender'), 'USAGE'), false))
            ) THEN
                RAISE EXCEPTION 'a request for approval is not changed, and decided once';
            END IF;
            IF NEW.state = 'approved' AND OLD.state <> 'approved' THEN
                IF OLD.state <> 'pending' OR NEW.signature IS NULL OR NEW.decided_by IS NULL
                    OR NEW.decided_by = NEW.requested_by OR NOT EXISTS (
                        SELECT FROM public.approver_key k WHERE k.id = NEW.key_id AND k.operator_id = NEW.decided_by
                            AND k.pinned_at IS NOT NULL AND k.revoked_at IS NULL)
                THEN
                    RAISE EXCEPTION 'an approval needs the signature of a second person, by a pinned key';
                END IF;
                NEW.decided_at := now();
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER approval_decided BEFORE INSERT OR UPDATE ON approval FOR EACH ROW
            EXECUTE FUNCTION approval_is_decided_once();
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER approval_decided ON approval")
    op.execute("DROP FUNCTION approval_is_decided_once")
    op.drop_constraint(op.f("approval_key_id_fkey"), "approval", type_="foreignkey")
    for column in ("executed_at", "signature", "key_id", "urgent"):
        op.drop_column("approval", column)
    op.execute("DROP TRIGGER approver_key_pinned ON approver_key")
    op.execute("DROP FUNCTION approver_key_is_pinned_by_the_host")
    op.drop_table("approver_key")
