"""sims"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Equality of ids beside overlap of times in one index; its owner may install it in any database of its own.
    op.execute("CREATE EXTENSION IF NOT EXISTS btree_gist")
    op.create_table(
        "carrier_account",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("base_url", sa.String(length=300), server_default="", nullable=False),
        sa.Column("secret_name", sa.String(length=64), server_default="", nullable=False),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("billing_tz", sa.String(length=40), server_default="Asia/Tokyo", nullable=False),
        sa.Column("cycle_anchor_day", sa.SmallInteger(), server_default="1", nullable=False),
        sa.Column("usage_tz", sa.String(length=40), server_default="Asia/Tokyo", nullable=False),
        sa.Column("sim_mapping", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("usage_mapping", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("mapping_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("capabilities", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("limits", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default="true", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("cycle_anchor_day BETWEEN 1 AND 31", name="carrier_account_anchor"),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "plan",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["carrier_account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "code"),
    )
    op.create_table(
        "plan_version",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("plan_id", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("allowance_bytes", sa.BigInteger(), nullable=True),
        sa.Column("daily_bytes", sa.BigInteger(), nullable=True),
        sa.Column("unit_base", sa.SmallInteger(), server_default="1000", nullable=False),
        sa.Column("overage", sa.String(length=16), server_default="none", nullable=False),
        sa.Column("throttle_bps", sa.Integer(), nullable=True),
        sa.Column("price_yen", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("overage_yen_per_gb", sa.Numeric(precision=12, scale=4), nullable=True),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.text("plan_id"), "="),
            (sa.text("tstzrange(valid_from, valid_to)"), "&&"),
            using="gist",
            name="plan_version_one_per_plan",
        ),
        sa.CheckConstraint("allowance_bytes >= 0", name="plan_version_allowance"),
        sa.CheckConstraint("unit_base IN (1000, 1024)", name="plan_version_unit"),
        sa.CheckConstraint("valid_to >= valid_from", name="plan_version_forwards"),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["plan.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "plan_pool",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("allowance_bytes", sa.BigInteger(), nullable=True),
        sa.Column("overage", sa.String(length=16), server_default="throttle", nullable=False),
        sa.Column("throttle_bps", sa.Integer(), nullable=True),
        sa.CheckConstraint("allowance_bytes >= 0", name="plan_pool_allowance"),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["carrier_account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("account_id", "name"),
    )
    op.create_table(
        "pool_extra",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("pool_id", sa.BigInteger(), nullable=False),
        sa.Column("cycle_start", sa.Date(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("price_yen", sa.Numeric(precision=12, scale=2), nullable=True),
        sa.Column("reason", sa.String(length=400), server_default="", nullable=False),
        sa.Column("bought_by", sa.String(length=80), nullable=False),
        sa.Column("bought_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("bytes > 0", name="pool_extra_bytes"),
        sa.ForeignKeyConstraint(
            ["pool_id"],
            ["plan_pool.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("pool_extra_cycle", "pool_extra", ["pool_id", "cycle_start"])
    op.create_table(
        "sim",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("iccid_core", sa.String(length=19), nullable=False),
        sa.Column("iccid_full", sa.String(length=22), nullable=False),
        sa.Column("eid", sa.String(length=32), nullable=True),
        sa.Column("imsi", sa.String(length=15), nullable=True),
        sa.Column("msisdn", sa.String(length=15), nullable=True),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("carrier_sim_id", sa.String(length=64), nullable=True),
        sa.Column("plan_id", sa.BigInteger(), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("carrier_status", sa.String(length=40), server_default="", nullable=False),
        sa.Column("intended_status", sa.String(length=16), nullable=True),
        sa.Column("intended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("effective_status", sa.String(length=16), server_default="unknown", nullable=False),
        sa.Column("status_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("status_changed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("intended_speed", sa.String(length=32), nullable=True),
        sa.Column("effective_speed", sa.String(length=32), nullable=True),
        sa.Column("imei_seen", sa.String(length=16), nullable=True),
        sa.Column("imei_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("imei_lock", sa.String(length=16), nullable=True),
        sa.Column("last_online_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("carrier_modified_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("listed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["carrier_account.id"],
        ),
        sa.ForeignKeyConstraint(
            ["plan_id"],
            ["plan.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("iccid_core"),
    )
    op.create_index(op.f("ix_sim_eid"), "sim", ["eid"])
    op.create_index(op.f("ix_sim_imsi"), "sim", ["imsi"])
    op.create_index(op.f("ix_sim_msisdn"), "sim", ["msisdn"])
    op.create_index(op.f("ix_sim_plan_id"), "sim", ["plan_id"])
    op.create_index("sim_account_status", "sim", ["account_id", "effective_status"])
    op.create_index(
        "sim_carrier_id",
        "sim",
        ["account_id", "carrier_sim_id"],
        unique=True,
        postgresql_where=sa.text("carrier_sim_id IS NOT NULL"),
    )
    op.create_index("sim_unsettled", "sim", ["id"], postgresql_where=sa.text("intended_status <> effective_status"))
    op.create_table(
        "pool_membership",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("pool_id", sa.BigInteger(), nullable=False),
        sa.Column("sim_id", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(length=400), server_default="", nullable=False),
        sa.Column("set_by", sa.String(length=80), nullable=False),
        postgresql.ExcludeConstraint(
            (sa.text("sim_id"), "="),
            (sa.text("tstzrange(valid_from, valid_to)"), "&&"),
            using="gist",
            name="pool_membership_one_per_sim",
        ),
        sa.CheckConstraint("valid_to >= valid_from", name="pool_membership_forwards"),
        sa.ForeignKeyConstraint(
            ["pool_id"],
            ["plan_pool.id"],
        ),
        sa.ForeignKeyConstraint(
            ["sim_id"],
            ["sim.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("pool_membership_of_pool", "pool_membership", ["pool_id", "valid_from"])
    op.create_index("pool_membership_of_sim", "pool_membership", ["sim_id", "valid_from"])
    op.create_table(
        "sim_binding",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("sim_id", sa.BigInteger(), nullable=False),
        sa.Column("device_id", sa.BigInteger(), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=400), server_default="", nullable=False),
        sa.Column("bound_by", sa.String(length=80), nullable=False),
        sa.Column("ended_by", sa.String(length=80), nullable=True),
        sa.Column("end_reason", sa.String(length=400), nullable=True),
        postgresql.ExcludeConstraint(
            (sa.text("device_id"), "="),
            (sa.text("tstzrange(valid_from, valid_to)"), "&&"),
            using="gist",
            name="sim_binding_one_per_device",
        ),
        postgresql.ExcludeConstraint(
            (sa.text("sim_id"), "="),
            (sa.text("tstzrange(valid_from, valid_to)"), "&&"),
            using="gist",
            name="sim_binding_one_per_sim",
        ),
        sa.CheckConstraint("valid_to >= valid_from", name="sim_binding_forwards"),
        sa.ForeignKeyConstraint(
            ["device_id"],
            ["device.id"],
        ),
        sa.ForeignKeyConstraint(
            ["sim_id"],
            ["sim.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("sim_binding_of_device", "sim_binding", ["device_id", "valid_from"])
    op.create_index("sim_binding_of_sim", "sim_binding", ["sim_id", "valid_from"])
    op.create_table(
        "sim_observation",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=False),
        sa.Column("sim_id", sa.BigInteger(), nullable=True),
        sa.Column("device_id", sa.BigInteger(), nullable=True),
        sa.Column("iccid_core", sa.String(length=19), nullable=True),
        sa.Column("imei_key", sa.String(length=14), nullable=True),
        sa.Column("imsi", sa.String(length=15), nullable=True),
        sa.Column("msisdn", sa.String(length=15), nullable=True),
        sa.Column("roaming", sa.Boolean(), nullable=True),
        sa.Column("online", sa.Boolean(), nullable=True),
        postgresql_partition_by="RANGE (observed_at)",
    )
    op.create_index("sim_observation_device", "sim_observation", ["device_id", "observed_at"])
    op.create_index("sim_observation_iccid", "sim_observation", ["iccid_core", "observed_at"])
    _parts("sim_observation")
    op.create_table(
        "import_batch",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("sha256", sa.LargeBinary(), nullable=False),
        sa.Column("mapping_version", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("rows_new", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rows_changed", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rows_same", sa.Integer(), server_default="0", nullable=False),
        sa.Column("rows_bad", sa.Integer(), server_default="0", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("brought_by", sa.String(length=80), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["carrier_account.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("import_batch_newest", "import_batch", ["account_id", "id"])
    op.create_index(
        "import_batch_once",
        "import_batch",
        ["account_id", "kind", "sha256", "mapping_version"],
        unique=True,
        postgresql_where=sa.text("state = 'applied'"),
    )
    op.create_table(
        "import_row",
        sa.Column("batch_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("level", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.ForeignKeyConstraint(["batch_id"], ["import_batch.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("batch_id", "line", "level"),
    )


def downgrade() -> None:
    op.drop_table("import_row")
    op.drop_table("import_batch")
    op.drop_table("sim_observation")
    op.drop_table("sim_binding")
    op.drop_table("pool_membership")
    op.drop_table("sim")
    op.drop_table("pool_extra")
    op.drop_table("plan_pool")
    op.drop_table("plan_version")
    op.drop_table("plan")
    op.drop_table("carrier_account")


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
