"""class A guard"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The kinds that are not class A, on the day of this migration. One that is not named here is class A: adding a benign
# kind takes a migration that replaces the function, and forgetting it fails closed.
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
    "renew_identity",
)


def upgrade() -> None:
    names = ", ".join(f"'{kind}'" for kind in HARMLESS)
    op.execute(
        f"""
        CREATE FUNCTION command_class_a_needs_approval() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NOT EXISTS (
                SELECT FROM approval a
                WHERE a.id = NEW.approval_id AND a.state = 'approved' AND a.decided_by <> a.requested_by
                    AND a.subject -> 'command' = jsonb_build_object(
                        'id', NEW.id::text, 'kind', NEW.kind, 'arguments', NEW.arguments, 'epoch', NEW.epoch)
                    AND a.subject -> 'devices' @> jsonb_build_array(jsonb_build_object('id', NEW.device_id))
            ) THEN
                RAISE EXCEPTION 'a command of class A leaves only with the approval of a second person';
            END IF;
            RETURN NEW;
        END $$;
        CREATE TRIGGER command_class_a BEFORE INSERT OR UPDATE ON command FOR EACH ROW
            WHEN (NEW.kind NOT IN ({names})
                AND NEW.state IN ('queued', 'sent', 'delivered', 'not_now', 'done', 'failed'))
            EXECUTE FUNCTION command_class_a_needs_approval();
        """
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER command_class_a ON command")
    op.execute("DROP FUNCTION command_class_a_needs_approval")
