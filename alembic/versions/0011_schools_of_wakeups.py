"""schools of wake-ups"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("wakeup", sa.Column("school_id", sa.BigInteger(), nullable=True))
    # A trigger and not the writers, because the former version writes wake-ups too while this one is rolled out.
    op.execute(
        """
        CREATE FUNCTION wakeup_takes_its_school() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            SELECT d.school_id INTO NEW.school_id FROM device d WHERE d.id = NEW.device_id;
            RETURN NEW;
        END $$;
        CREATE TRIGGER wakeup_school BEFORE INSERT ON wakeup FOR EACH ROW WHEN (NEW.school_id IS NULL)
            EXECUTE FUNCTION wakeup_takes_its_school();
        CREATE FUNCTION wakeup_follows_its_tablet() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            UPDATE wakeup SET school_id = NEW.school_id WHERE device_id = NEW.id;
            RETURN NULL;
        END $$;
        CREATE TRIGGER device_school_of_wakeup AFTER UPDATE OF school_id ON device FOR EACH ROW
            WHEN (OLD.school_id IS DISTINCT FROM NEW.school_id) EXECUTE FUNCTION wakeup_follows_its_tablet();
        """
    )
    op.execute("UPDATE wakeup w SET school_id = d.school_id FROM device d WHERE d.id = w.device_id")
    op.alter_column("wakeup", "school_id", nullable=False)
    op.create_index("wakeup_turn", "wakeup", ["lane", "school_id", "due_at"])


def downgrade() -> None:
    op.execute("DROP TRIGGER device_school_of_wakeup ON device")
    op.execute("DROP FUNCTION wakeup_follows_its_tablet")
    op.execute("DROP TRIGGER wakeup_school ON wakeup")
    op.execute("DROP FUNCTION wakeup_takes_its_school")
    op.drop_index("wakeup_turn", table_name="wakeup")
    op.drop_column("wakeup", "school_id")
