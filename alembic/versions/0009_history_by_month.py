"""history by month"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    months = _months()
    _past(months)
    # The former code goes on writing by name: it needs neither the key nor the column's number, which the sequence of
    # the new table gives from where the old one stood.
    op.execute("ALTER TABLE command_event DROP CONSTRAINT command_event_command_id_fkey")
    op.execute("ALTER TABLE command_event DROP CONSTRAINT command_event_pkey")
    op.execute("ALTER TABLE command_event ALTER id DROP IDENTITY")
    op.execute(f"ALTER TABLE command_event RENAME TO command_event_p{months[0][0]}")
    op.execute(f"ALTER INDEX ix_command_event_command_id RENAME TO command_event_p{months[0][0]}_command_id_idx")
    op.create_table(
        "command_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("command_id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("note", sa.String(length=200), server_default="", nullable=False),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index(op.f("ix_command_event_command_id"), "command_event", ["command_id"])
    op.execute(
        "SELECT setval(pg_get_serial_sequence('command_event', 'id'), max(id))"
        f" FROM command_event_p{months[0][0]} HAVING max(id) IS NOT NULL"
    )
    # What there is becomes the first part as it stands: it is read once, for the bound, and not written.
    op.execute(
        f"ALTER TABLE command_event ATTACH PARTITION command_event_p{months[0][0]}"
        f" FOR VALUES FROM (MINVALUE) TO ('{months[0][1]}')"
    )
    _parts("command_event", months[1:])
    # Few commands have an approval: an entry for each of the others is one more to write at every step of it.
    op.create_index(
        "command_approval", "command", ["approval_id"], postgresql_where=sa.text("approval_id IS NOT NULL")
    )
    op.drop_index("ix_command_approval_id", table_name="command")
    # Rows come and go now, and there are few of them: look after them early, or dead ones outnumber the living.
    op.execute("ALTER TABLE command SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)")


def downgrade() -> None:
    op.execute("ALTER TABLE command RESET (autovacuum_vacuum_scale_factor, autovacuum_analyze_scale_factor)")
    op.create_index("ix_command_approval_id", "command", ["approval_id"])
    op.drop_index("command_approval", table_name="command")
    op.execute("INSERT INTO command SELECT * FROM command_past")
    op.execute("CREATE TABLE command_event_whole AS SELECT * FROM command_event")
    op.drop_table("command_event")
    op.drop_table("command_past")
    op.rename_table("command_event_whole", "command_event")
    op.execute("DELETE FROM command_event e WHERE NOT EXISTS (SELECT FROM command c WHERE c.id = e.command_id)")
    op.execute(
        "ALTER TABLE command_event ALTER id SET NOT NULL, ALTER command_id SET NOT NULL, ALTER at SET NOT NULL,"
        " ALTER at SET DEFAULT now(), ALTER state SET NOT NULL, ALTER note SET NOT NULL, ALTER note SET DEFAULT '',"
        " ADD PRIMARY KEY (id), ADD FOREIGN KEY (command_id) REFERENCES command (id)"
    )
    op.execute("ALTER TABLE command_event ALTER id ADD GENERATED ALWAYS AS IDENTITY")
    op.execute("SELECT setval(pg_get_serial_sequence('command_event', 'id'), max(id)) FROM command_event HAVING max(id) IS NOT NULL")
    op.create_index("ix_command_event_command_id", "command_event", ["command_id"])


def _months() -> list[tuple[str, str, str]]:
    """This month and the two after it: name, end, start."""
    rows = op.get_bind().execute(
        sa.text(
            "SELECT to_char(m, 'YYYY_MM'), to_char(m + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00',"
            " to_char(m, 'YYYY-MM-DD') || ' 00:00:00+00'"
            " FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month' AS m"
            " FROM generate_series(0, 2) n) months ORDER BY m"
        )
    )
    return [tuple(row) for row in rows]


def _parts(table: str, months: list[tuple[str, str, str]]) -> None:
    for name, end, start in months:
        op.execute(f"CREATE TABLE {table}_p{name} PARTITION OF {table} FOR VALUES FROM ('{start}') TO ('{end}')")
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")


def _past(months: list[tuple[str, str, str]]) -> None:
    """Make the table of ended commands; no key points out of it, so that a month comes and goes by itself."""
    op.create_table(
        "command_past",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("arguments", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("dedupe_key", sa.String(length=80), nullable=False),
        sa.Column("lane", sa.SmallInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.BigInteger(), nullable=True),
        sa.Column("approval_id", sa.Uuid(), nullable=True),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("not_now_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_now_count", sa.Integer(), nullable=False),
        sa.Column("error", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.PrimaryKeyConstraint("id", "ended_at"),
        postgresql_partition_by="RANGE (ended_at)",
    )
    op.create_index("command_past_device", "command_past", ["device_id", "id"])
    op.create_index("command_past_kind", "command_past", ["kind", "id"])
    op.create_index("command_past_state", "command_past", ["state", "id"], postgresql_where=sa.text("state <> 'done'"))
    name, end, _ = months[0]
    op.execute(
        f"CREATE TABLE command_past_p{name} PARTITION OF command_past FOR VALUES FROM (MINVALUE) TO ('{end}')"
    )
    _parts("command_past", months[1:])
