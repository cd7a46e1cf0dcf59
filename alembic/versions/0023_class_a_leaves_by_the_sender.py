"""class A leaves by the sender"""

from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

# The kinds that are not class A, on the day of this migration. One that is not named here is class A: adding a benign
# kind takes a migration that makes the trigger anew, and forgetting it fails closed.
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

# Without a path of their own the functions would read a temporary table of the session that changes the row.
_PATH = "SET search_path = pg_catalog, public, pg_temp"

_FORMER = """
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
"""

# Where a role does not exist, all processes connect as the owner, and the owner counts as every one of them.
_GUARD = f"""
    CREATE FUNCTION command_is_role(process text) RETURNS boolean LANGUAGE sql STABLE {_PATH} AS $$
        SELECT coalesce(pg_has_role(current_user, to_regrole('tabane_' || process), 'USAGE'), false)
    $$;
    CREATE FUNCTION command_class_a_is_signed(command public.command) RETURNS boolean LANGUAGE sql STABLE {_PATH} AS $$
        SELECT EXISTS (
            SELECT FROM public.approval a
                JOIN public.approver_key k ON k.id = a.key_id AND k.operator_id = a.decided_by
            WHERE a.id = command.approval_id AND a.state = 'approved' AND a.decided_by <> a.requested_by
                AND a.signature IS NOT NULL AND k.pinned_at IS NOT NULL AND k.revoked_at IS NULL
                AND a.subject -> 'command' = jsonb_build_object('id', command.id::text, 'kind', command.kind,
                    'arguments', command.arguments, 'epoch', command.epoch)
                AND a.subject -> 'devices' @> jsonb_build_array(jsonb_build_object('id', command.device_id)))
    $$;
    CREATE FUNCTION command_class_a_is_guarded() RETURNS trigger LANGUAGE plpgsql {_PATH} AS $$
    DECLARE
        owner boolean := pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = TG_RELID), 'USAGE');
        sender boolean := owner OR public.command_is_role('sender');
        carrier boolean := sender OR public.command_is_role('door') OR public.command_is_role('worker');
        on_its_way constant text[] := ARRAY['queued', 'sent', 'delivered', 'not_now'];
        left_already boolean := false;
        stays_itself boolean := true;
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            stays_itself := (NEW.id, NEW.kind, NEW.device_id, NEW.epoch, NEW.arguments)
                    IS NOT DISTINCT FROM (OLD.id, OLD.kind, OLD.device_id, OLD.epoch, OLD.arguments)
                AND (OLD.approval_id IS NULL OR NEW.approval_id IS NOT DISTINCT FROM OLD.approval_id);
            left_already := OLD.state = ANY (on_its_way) AND stays_itself;
            IF NOT owner AND NOT stays_itself THEN
                RAISE EXCEPTION 'a command of class A is not changed';
            END IF;
            IF stays_itself AND NEW.state = OLD.state THEN
                RETURN NEW;
            END IF;
        END IF;
        IF NEW.state = ANY (on_its_way || ARRAY['done', 'failed']) THEN
            IF left_already AND carrier THEN
                RETURN NEW;
            END IF;
            IF NOT owner AND (TG_OP = 'INSERT' OR NOT sender OR OLD.state <> 'held' OR NEW.state <> 'queued') THEN
                RAISE EXCEPTION 'only the sender lets a command of class A leave';
            END IF;
            IF NOT public.command_class_a_is_signed(NEW) THEN
                RAISE EXCEPTION 'a command of class A leaves only with the approval of a second person';
            END IF;
        ELSIF TG_OP = 'UPDATE' AND NOT owner THEN
            -- What is over stays over, and what a tablet has been handed is not held back for a second time.
            IF OLD.state IN ('done', 'failed', 'cancelled', 'expired', 'superseded')
                OR (NEW.state = 'held' AND OLD.state NOT IN ('queued', 'sent', 'not_now'))
            THEN
                RAISE EXCEPTION 'a command of class A does not come back';
            END IF;
        END IF;
        RETURN NEW;
    END $$;
"""


def upgrade() -> None:
    op.execute("DROP TRIGGER command_class_a ON command")
    op.execute("DROP FUNCTION command_class_a_needs_approval")
    op.execute(_GUARD)
    names = ", ".join(f"'{kind}'" for kind in HARMLESS)
    op.execute(
        "CREATE TRIGGER command_class_a BEFORE INSERT OR UPDATE ON command FOR EACH ROW"
        f" WHEN (NEW.kind NOT IN ({names})) EXECUTE FUNCTION command_class_a_is_guarded()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER command_class_a ON command")
    op.execute("DROP FUNCTION command_class_a_is_guarded")
    op.execute("DROP FUNCTION command_class_a_is_signed")
    op.execute("DROP FUNCTION command_is_role")
    op.execute(_FORMER)
    names = ", ".join(f"'{kind}'" for kind in HARMLESS)
    op.execute(
        "CREATE TRIGGER command_class_a BEFORE INSERT OR UPDATE ON command FOR EACH ROW"
        f" WHEN (NEW.kind NOT IN ({names})"
        " AND NEW.state IN ('queued', 'sent', 'delivered', 'not_now', 'done', 'failed'))"
        " EXECUTE FUNCTION command_class_a_needs_approval()"
    )
