"""second factors, sessions that remember, tokens with bounds, identities elsewhere"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NOW = sa.text("now()")
_OPERATOR = (
    sa.Column("break_glass", sa.Boolean(), server_default="false", nullable=False),
    sa.Column("second_factor_waived", sa.Boolean(), server_default="false", nullable=False),
)
_CREDENTIAL = (
    sa.Column("used_at", _MOMENT, nullable=True),
    sa.Column("proved_at", _MOMENT, nullable=True),
    sa.Column("factors", postgresql.JSONB(), server_default=sa.text("'[]'"), nullable=False),
    sa.Column("address", sa.String(length=64), server_default="", nullable=False),
    sa.Column("actions", postgresql.JSONB(none_as_null=True), nullable=True),
    sa.Column("school_ids", postgresql.JSONB(none_as_null=True), nullable=True),
)


def _operator(*, primary_key: bool = False, nullable: bool = False) -> sa.Column:
    key = sa.ForeignKey("operator.id", ondelete="CASCADE")
    return sa.Column("operator_id", sa.BigInteger(), key, primary_key=primary_key, nullable=nullable)


def upgrade() -> None:
    for column in _OPERATOR:
        op.add_column("operator", column)
    for column in _CREDENTIAL:
        op.add_column("credential", column)
    op.create_table(
        "totp",
        _operator(primary_key=True),
        sa.Column("secret_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("confirmed_at", _MOMENT, nullable=True),
        sa.Column("last_step", sa.BigInteger(), server_default="0", nullable=False),
    )
    op.create_table(
        "recovery_code",
        sa.Column("code_hash", sa.LargeBinary(), primary_key=True),
        _operator(),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("used_at", _MOMENT, nullable=True),
    )
    op.create_index("ix_recovery_code_operator_id", "recovery_code", ["operator_id"])
    op.create_table(
        "passkey",
        sa.Column("credential_id", sa.LargeBinary(), primary_key=True),
        _operator(),
        sa.Column("public_key", sa.LargeBinary(), nullable=False),
        sa.Column("sign_count", sa.BigInteger(), nullable=False),
        sa.Column("aaguid", sa.String(length=36), nullable=False),
        sa.Column("backed_up", sa.Boolean(), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("created_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.Column("used_at", _MOMENT, nullable=True),
    )
    op.create_index("ix_passkey_operator_id", "passkey", ["operator_id"])
    op.create_table(
        "ceremony",
        sa.Column("handle_hash", sa.LargeBinary(), primary_key=True),
        sa.Column("kind", sa.String(length=24), nullable=False),
        _operator(nullable=True),
        sa.Column("content_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
    )
    op.create_index("ix_ceremony_expires_at", "ceremony", ["expires_at"])
    op.create_table(
        "operator_identity",
        sa.Column("issuer", sa.String(length=200), primary_key=True),
        sa.Column("subject", sa.String(length=255), primary_key=True),
        sa.Column("operator_id", sa.BigInteger(), nullable=False),
        sa.Column("signed_in_at", _MOMENT, server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(["operator_id"], ["operator.id"], ondelete="CASCADE"),
        sa.UniqueConstraint("operator_id"),
    )


def downgrade() -> None:
    for table in ("operator_identity", "ceremony", "passkey", "recovery_code", "totp"):
        op.drop_table(table)
    for column in _CREDENTIAL:
        op.drop_column("credential", str(column.name))
    for column in _OPERATOR:
        op.drop_column("operator", str(column.name))
