"""data usage"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_raw",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("payload_hash", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("period_start", sa.DateTime(timezone=True), nullable=True),
        sa.Column("period_end", sa.DateTime(timezone=True), nullable=True),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["carrier_account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "source", "payload_hash"),
    )
    op.create_index("usage_raw_received", "usage_raw", ["received_at"])
    # In this order a row has no holes: there will be sixteen million of them.
    op.create_table(
        "usage_daily",
        sa.Column("sim_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("bytes_up", sa.BigInteger(), nullable=True),
        sa.Column("bytes_down", sa.BigInteger(), nullable=True),
        sa.Column("bytes_roaming", sa.BigInteger(), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("raw_id", sa.BigInteger(), nullable=True),
        sa.Column("usage_date", sa.Date(), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=True),
        sa.Column("revision", sa.Integer(), server_default="1", nullable=False),
        sa.Column("utc_offset", sa.SmallInteger(), server_default="540", nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.CheckConstraint("bytes_total >= 0", name="usage_daily_bytes"),
        sa.PrimaryKeyConstraint("usage_date", "sim_id", "source"),
        postgresql_partition_by="RANGE (usage_date)",
    )
    op.create_index("usage_daily_sim", "usage_daily", ["sim_id", "usage_date"])
    _parts("usage_daily")
    op.create_table(
        "usage_revision",
        sa.Column("replaced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sim_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("usage_date", sa.Date(), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("revision", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("raw_id", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("replaced_at", "sim_id", "usage_date", "source", "revision"),
        postgresql_partition_by="RANGE (replaced_at)",
    )
    op.create_index("usage_revision_day", "usage_revision", ["sim_id", "usage_date"])
    _parts("usage_revision")
    op.create_table(
        "usage_hourly",
        sa.Column("hour_start", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sim_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("bytes_up", sa.BigInteger(), nullable=True),
        sa.Column("bytes_down", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("bytes_total >= 0", name="usage_hourly_bytes"),
        sa.PrimaryKeyConstraint("hour_start", "sim_id", "source"),
        postgresql_partition_by="RANGE (hour_start)",
    )
    _parts("usage_hourly")
    op.create_table(
        "usage_snapshot",
        sa.Column("taken_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sim_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cycle_start", sa.Date(), nullable=False),
        sa.Column("bytes_total", sa.BigInteger(), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=True),
        sa.Column("final", sa.Boolean(), server_default="false", nullable=False),
        sa.Column("raw_id", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("bytes_total >= 0", name="usage_snapshot_bytes"),
        sa.PrimaryKeyConstraint("taken_at", "sim_id"),
        postgresql_partition_by="RANGE (taken_at)",
    )
    op.create_index("usage_snapshot_sim", "usage_snapshot", ["sim_id", "taken_at"])
    _parts("usage_snapshot")
    op.create_table(
        "usage_cycle",
        sa.Column("sim_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("cycle_start", sa.Date(), nullable=False),
        sa.Column("cycle_end", sa.Date(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("pool_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(length=8), nullable=True),
        sa.Column("bytes_total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("billed_bytes", sa.BigInteger(), nullable=True),
        sa.Column("billed_yen", sa.Numeric(precision=14, scale=2), nullable=True),
        sa.Column("closed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reconciled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("cycle_end > cycle_start", name="usage_cycle_forwards"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["carrier_account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["plan.id"],
        ),
        sa.ForeignKeyConstraint(
            ["pool_id"],
            ["plan_pool.id"],
        ),
        sa.ForeignKeyConstraint(
            ["sim_id"],
            ["sim.id"],
        ),
        sa.PrimaryKeyConstraint("sim_id", "cycle_start"),
    )
    op.create_index("usage_cycle_account", "usage_cycle", ["account_id", "cycle_start"])
    op.create_table(
        "usage_adjustment",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sim_id", sa.BigInteger(), nullable=False),
        sa.Column("cycle_start", sa.Date(), nullable=False),
        sa.Column("usage_date", sa.Date(), nullable=True),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("delta_bytes", sa.BigInteger(), nullable=False),
        sa.Column("raw_id", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(length=200), server_default="", nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["sim_id"],
            ["sim.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("usage_adjustment_cycle", "usage_adjustment", ["sim_id", "cycle_start"])


def downgrade() -> None:
    op.drop_table("usage_adjustment")
    op.drop_table("usage_cycle")
    op.drop_table("usage_snapshot")
    op.drop_table("usage_hourly")
    op.drop_table("usage_revision")
    op.drop_table("usage_daily")
    op.drop_table("usage_raw")


def _parts(table: str) -> None:
    """Make the parts of this month and the two after it, and one for what strays; a job makes the further ones."""
    rows = op.get_bind().execute(
        sa.text(
            "SELECT to_char(m, 'YYYY_MM'), to_char(m, 'YYYY-MM-DD') || ' 00:00:00+00',"
            " to_char(m + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'"
            " FROM (SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + n * interval '1 month' AS m"
            " FROM generate_series(0, 2) n) months ORDER BY m"
        )
    )
    for name, start, end in rows:
        op.execute(f"CREATE TABLE {table}_p{name} PARTITION OF {table} FOR VALUES FROM ('{start}') TO ('{end}')")
    op.execute(f"CREATE TABLE {table}_default PARTITION OF {table} DEFAULT")
