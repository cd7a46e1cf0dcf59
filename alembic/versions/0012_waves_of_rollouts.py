"""waves of rollouts"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_OBJECT = postgresql.JSONB(astext_type=sa.Text())
_ROLLOUT = (
    sa.Column("leaves_out", sa.Boolean(), server_default="false", nullable=False),
    sa.Column("waves", _OBJECT, server_default=sa.text("'{}'"), nullable=False),
    sa.Column("schedule", _OBJECT, server_default=sa.text("'{}'"), nullable=False),
    sa.Column("thresholds", _OBJECT, server_default=sa.text("'{}'"), nullable=False),
    sa.Column("estimate", _OBJECT, nullable=True),
    sa.Column("reason", sa.String(length=400), nullable=True),
    sa.Column("digest", sa.LargeBinary(), nullable=True),
    sa.Column("halt", _OBJECT, nullable=True),
    sa.Column("approved_by", sa.BigInteger(), nullable=True),
    sa.Column("approved_at", _MOMENT, nullable=True),
    sa.Column("expires_at", _MOMENT, nullable=True),
    sa.Column("fallen_back_at", _MOMENT, nullable=True),
)
_TARGET = (
    sa.Column("wave", sa.Integer(), server_default="1", nullable=True),
    sa.Column("former", sa.LargeBinary(), nullable=True),
    sa.Column("installed_at", _MOMENT, nullable=True),
    sa.Column("failed_at", _MOMENT, nullable=True),
    sa.Column("pulsed_at", _MOMENT, nullable=True),
    sa.Column("heard_at", _MOMENT, nullable=True),
    sa.Column("silent_at", _MOMENT, nullable=True),
    sa.Column("withdrawn_at", _MOMENT, nullable=True),
)


def upgrade() -> None:
    # The former version released everything at the start and names neither column: the default is what it means.
    for table, column in (("rollout", "layer_released_at"), ("rollout_target", "released_at")):
        op.add_column(table, sa.Column(column, _MOMENT, server_default=sa.text("now()"), nullable=True))
    for column in _ROLLOUT:
        op.add_column("rollout", column)
    op.create_foreign_key("rollout_approved_by_fkey", "rollout", "operator", ["approved_by"], ["id"])
    for column in _TARGET:
        op.add_column("rollout_target", column)
    op.alter_column("rollout_target", "excluded", type_=sa.String(length=120))
    # Of a rollout that is over nobody asks when its tablets were told.
    op.execute(
        "UPDATE rollout_target t SET released_at = r.created_at FROM rollout r"
        " WHERE r.id = t.rollout_id AND r.state = 'running'"
    )
    op.create_table(
        "rollout_wave",
        sa.Column("rollout_id", sa.Uuid(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("opened_at", _MOMENT, nullable=True),
        sa.Column("released_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["rollout_id"], ["rollout.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("rollout_id", "number"),
    )
    op.execute(
        "INSERT INTO rollout_wave (rollout_id, number, name, size, opened_at, released_at)"
        " SELECT r.id, 1, 'everyone', (SELECT count(*) FROM rollout_target t"
        "  WHERE t.rollout_id = r.id AND t.excluded IS NULL), r.created_at, r.created_at FROM rollout r"
    )
    _index()


def _index() -> None:
    op.create_index("rollout_of_layer", "rollout", ["policy_id", "id"], postgresql_where=sa.text("whole_layer"))
    under_way = "state IN ('held', 'running', 'paused', 'halted')"
    op.create_index("rollout_open", "rollout", ["id"], postgresql_where=sa.text(under_way))
    falling = "state IN ('halted', 'aborted', 'rolled_back') AND fallen_back_at IS NULL"
    op.create_index("rollout_falling", "rollout", ["id"], postgresql_where=sa.text(falling))
    op.create_index(
        "rollout_target_waiting",
        "rollout_target",
        ["rollout_id", "wave", "device_id"],
        postgresql_where=sa.text("released_at IS NULL"),
    )
    op.create_index(
        "rollout_target_under_way",
        "rollout_target",
        ["rollout_id", "device_id"],
        postgresql_where=sa.text("released_at IS NOT NULL AND installed_at IS NULL AND withdrawn_at IS NULL"),
    )
    op.create_index(
        "rollout_target_unproved",
        "rollout_target",
        ["rollout_id", "installed_at"],
        postgresql_where=sa.text("installed_at IS NOT NULL AND heard_at IS NULL"),
    )


def downgrade() -> None:
    for name in ("unproved", "under_way", "waiting"):
        op.drop_index(f"rollout_target_{name}", table_name="rollout_target")
    op.drop_index("rollout_falling", table_name="rollout")
    op.drop_index("rollout_open", table_name="rollout")
    op.drop_index("rollout_of_layer", table_name="rollout")
    op.drop_table("rollout_wave")
    for column in (*_TARGET, sa.Column("released_at", _MOMENT)):
        op.drop_column("rollout_target", str(column.name))
    for column in (*_ROLLOUT, sa.Column("layer_released_at", _MOMENT)):
        op.drop_column("rollout", str(column.name))
