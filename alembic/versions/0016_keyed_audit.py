"""keyed audit trail and its checkpoints"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Empty in what the former version wrote, and goes on writing until it is replaced.
    op.add_column("audit_event", sa.Column("sequence", sa.BigInteger(), nullable=True))
    op.add_column("audit_event", sa.Column("key_id", sa.String(length=32), nullable=True))
    op.add_column("audit_event", sa.Column("mac", sa.LargeBinary(), nullable=True))
    op.create_index(
        "audit_event_sequence",
        "audit_event",
        ["sequence"],
        unique=True,
        postgresql_where=sa.text("sequence IS NOT NULL"),
    )
    op.create_table(
        "audit_checkpoint",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key_id", sa.String(length=32), nullable=False),
        sa.Column("signature", sa.LargeBinary(), nullable=False),
        sa.Column("walked_to", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.execute(
        """
        CREATE FUNCTION audit_checkpoint_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            RAISE EXCEPTION 'audit_checkpoint is append-only';
        END $$;
        CREATE TRIGGER audit_checkpoint_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_checkpoint
            FOR EACH STATEMENT EXECUTE FUNCTION audit_checkpoint_is_append_only();
        """
    )


def downgrade() -> None:
    op.drop_table("audit_checkpoint")
    op.execute("DROP FUNCTION audit_checkpoint_is_append_only")
    op.drop_index("audit_event_sequence", table_name="audit_event")
    for column in ("mac", "key_id", "sequence"):
        op.drop_column("audit_event", column)
