"""findings of the command auditor"""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "command_finding",
        sa.Column("command_id", sa.Uuid(), nullable=False),
        sa.Column("fault", sa.String(length=24), nullable=False),
        sa.Column("found_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("command_id", "fault"),
    )
    op.execute(
        """
        CREATE FUNCTION command_finding_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'command_finding is append-only';
        END $$;
        CREATE TRIGGER command_finding_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON command_finding
            FOR EACH STATEMENT EXECUTE FUNCTION command_finding_is_append_only();
        """
    )
    # What the auditor looks for in a trail of millions of events.
    op.create_index(
        "audit_event_approvals",
        "audit_event",
        ["id"],
        postgresql_where=sa.text("action IN ('approval.approve', 'command.release', 'key.pin')"),
    )


def downgrade() -> None:
    op.drop_index("audit_event_approvals", table_name="audit_event")
    op.drop_table("command_finding")
    op.execute("DROP FUNCTION command_finding_is_append_only")
