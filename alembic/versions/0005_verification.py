"""verification"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

# The kinds that are not class A, on the day of this migration. One that is not named here is class A: adding a benign
# kind takes a migration that replaces the trigger, and forgetting it fails closed.
HARMLESS = (
    "lost_mode_on",
    "lost_mode_off",
    "lock_screen",
    "locate",
    "play_sound",
    "restart",
    "inventory_device",
    "inventory_security",
    "inventory_apps",
    "inventory_profiles",
    "inventory_restrictions",
    "renew_identity",
)


def upgrade() -> None:
    op.create_table(
        "verification",
        sa.Column("device_id", sa.BigInteger(), nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("installed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("heard_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("healed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("findings", postgresql.JSONB(astext_type=sa.Text()), server_default="[]", nullable=False),
        sa.ForeignKeyConstraint(["device_id"], ["device.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("device_id"),
    )
    _guard(HARMLESS)


def downgrade() -> None:
    _guard(tuple(kind for kind in HARMLESS if kind != "inventory_restrictions"))
    op.drop_table("verification")


def _guard(harmless: tuple[str, ...]) -> None:
    names = ", ".join(f"'{kind}'" for kind in harmless)
    op.execute(
        f"""
        CREATE OR REPLACE TRIGGER command_class_a BEFORE INSERT OR UPDATE ON command FOR EACH ROW
            WHEN (NEW.kind NOT IN ({names})
                AND NEW.state IN ('queued', 'sent', 'delivered', 'not_now', 'done', 'failed'))
            EXECUTE FUNCTION command_class_a_needs_approval();
        """
    )
