"""months by functions of the owner"""

from alembic import op

revision = "0030"
down_revision = "0029"
branch_labels = None
depends_on = None

# They run with the owner's rights, for a worker's role that may make and drop no table itself: each looks at what it is
# given, and has a path and a time zone of its own.
_AS_OWNER = "SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp SET timezone = 'UTC'"

_KEY = """
    CREATE FUNCTION month_key(parent text) RETURNS text LANGUAGE plpgsql STABLE
        SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        key text;
    BEGIN
        SELECT a.attname INTO key
            FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
                JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
            WHERE c.relname = parent AND c.relnamespace = 'public'::regnamespace AND p.partstrat = 'r' AND p.partnatts = 1
                AND p.partdefid = to_regclass(format('public.%I', parent || '_default'));
        IF key IS NULL THEN
            RAISE EXCEPTION 'this table is not kept by month' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        RETURN key;
    END $$;
"""
_MAKE = f"""
    CREATE FUNCTION month_part_make(parent text, month date) RETURNS text LANGUAGE plpgsql {_AS_OWNER} AS $$
    DECLARE
        key text := public.month_key(parent);
        starts timestamptz := date_trunc('month', month::timestamptz);
        ends timestamptz := date_trunc('month', month::timestamptz) + interval '1 month';
        part text := parent || '_p' || to_char(month, 'YYYY_MM');
        strayed boolean;
    BEGIN
        IF month IS NULL OR month < '2000-01-01' OR month > now() + interval '1 year' THEN
            RAISE EXCEPTION 'no part is made of such a month' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        -- Made beside the table and attached: unlike making it in place, this lets others write meanwhile.
        EXECUTE format('CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
        EXECUTE format('SELECT EXISTS (SELECT FROM public.%I WHERE %I >= $1 AND %2$I < $2)', parent || '_default', key)
            INTO strayed USING starts, ends;
        IF strayed THEN
            EXECUTE format('LOCK TABLE public.%I IN ACCESS EXCLUSIVE MODE', parent || '_default');
            EXECUTE format('INSERT INTO public.%I SELECT * FROM public.%I WHERE %I >= $1 AND %3$I < $2',
                part, parent || '_default', key) USING starts, ends;
            EXECUTE format('DELETE FROM public.%I WHERE %I >= $1 AND %2$I < $2', parent || '_default', key)
                USING starts, ends;
        END IF;
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)',
            parent, part, starts, ends);
        RETURN part;
    END $$;
"""
_DROP = f"""
    CREATE FUNCTION month_parts_drop(parent text, before date) RETURNS SETOF text LANGUAGE plpgsql {_AS_OWNER} AS $$
    DECLARE
        key text := public.month_key(parent);
        oldest timestamptz := date_trunc('month', before::timestamptz);
        part text;
    BEGIN
        IF oldest IS NULL OR oldest > date_trunc('month', now()) THEN
            RAISE EXCEPTION 'this month is kept' USING ERRCODE = 'invalid_parameter_value';
        END IF;
        EXECUTE format('DELETE FROM public.%I WHERE %I < $1', parent || '_default', key) USING oldest;
        FOR part IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = format('public.%I', parent)::regclass AND c.relname ~ '_p[0-9]{{4}}_[0-9]{{2}}$'
                AND c.relname::text < parent || '_p' || to_char(oldest, 'YYYY_MM')
            ORDER BY 1
        LOOP
            EXECUTE format('DROP TABLE public.%I', part);
            RETURN NEXT part;
        END LOOP;
    END $$;
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '3s'")
    for function in (_KEY, _MAKE, _DROP):
        op.execute(function)
    op.execute(
        "REVOKE EXECUTE ON FUNCTION month_key(text), month_part_make(text, date), month_parts_drop(text, date)"
        " FROM PUBLIC"
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION month_parts_drop")
    op.execute("DROP FUNCTION month_part_make")
    op.execute("DROP FUNCTION month_key")
