"""organizations"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "organization",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("tier", sa.String(length=16), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), nullable=True),
        sa.Column(
            "parent_tier",
            sa.String(length=16),
            sa.Computed(
                "CASE tier WHEN 'contractor' THEN 'board' WHEN 'subcontractor' THEN 'contractor' END", persisted=True
            ),
            nullable=True,
        ),
        sa.Column("consent_document", sa.String(length=200), nullable=True),
        sa.Column("consent_on", sa.Date(), nullable=True),
        sa.Column("certificate", sa.String(length=200), nullable=True),
        sa.Column("certificate_until", sa.Date(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("tier IN ('board', 'contractor', 'subcontractor')", name="organization_tier"),
        sa.CheckConstraint("(tier = 'board') = (parent_id IS NULL)", name="organization_parent"),
        sa.CheckConstraint(
            "tier <> 'subcontractor' OR (consent_document IS NOT NULL AND consent_on IS NOT NULL)",
            name="organization_consent",
        ),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("name"),
        sa.UniqueConstraint("id", "tier", name="organization_id_tier"),
        # With the tier that a parent must have, the tree cannot grow deeper than three.
        sa.ForeignKeyConstraint(
            ["parent_id", "parent_tier"], ["organization.id", "organization.tier"], name="organization_depth"
        ),
    )
    op.create_index("organization_board", "organization", ["tier"], unique=True, postgresql_where="tier = 'board'")
    op.create_table(
        "contract",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("starts_on", sa.Date(), nullable=False),
        sa.Column("ends_on", sa.Date(), nullable=False),
        sa.Column("duties", postgresql.ARRAY(sa.String(length=16)), nullable=False),
        sa.Column("document", sa.String(length=200), nullable=False),
        sa.Column("renews_id", sa.BigInteger(), nullable=True),
        sa.Column("terminated_on", sa.Date(), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("recorded_by", sa.String(length=80), nullable=False),
        sa.CheckConstraint("starts_on <= ends_on AND cardinality(duties) > 0", name="contract_period"),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"]),
        sa.ForeignKeyConstraint(["renews_id"], ["contract.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("renews_id"),
    )
    op.create_index("contract_organization", "contract", ["organization_id"])
    op.create_table(
        "handler",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("organization_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=64), nullable=False),
        sa.Column("name_sealed", sa.LargeBinary(), nullable=False),
        sa.Column("duties", postgresql.ARRAY(sa.String(length=16)), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=False),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("notice_on", sa.Date(), nullable=True),
        sa.Column("notice_document", sa.String(length=200), nullable=True),
        sa.CheckConstraint("valid_until IS NULL OR valid_from <= valid_until", name="handler_period"),
        sa.CheckConstraint("kind IN ('responsible', 'handler')", name="handler_kind"),
        sa.ForeignKeyConstraint(["organization_id"], ["organization.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("organization_id", "label"),
        sa.UniqueConstraint("id", "organization_id", name="handler_id_organization"),
    )
    op.create_table(
        "handler_change",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("handler_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("by", sa.String(length=80), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("before", postgresql.JSONB(), nullable=True),
        sa.Column("after", postgresql.JSONB(), nullable=False),
        sa.ForeignKeyConstraint(["handler_id"], ["handler.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("handler_change_handler", "handler_change", ["handler_id"])
    op.add_column("operator", sa.Column("organization_id", sa.BigInteger(), nullable=True))
    op.add_column("operator", sa.Column("handler_id", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        "operator_handler", "operator", "handler", ["handler_id", "organization_id"], ["id", "organization_id"]
    )
    op.create_check_constraint("operator_of_handler", "operator", "(organization_id IS NULL) = (handler_id IS NULL)")
    op.create_check_constraint(
        "operator_duty",
        "operator",
        "organization_id IS NULL OR role IN ('supervision', 'operation', 'loss_desk', 'repair_desk')",
    )
    op.create_index("operator_handler_id", "operator", ["handler_id"])


def downgrade() -> None:
    op.drop_constraint("operator_duty", "operator", type_="check")
    op.drop_constraint("operator_of_handler", "operator", type_="check")
    op.drop_constraint("operator_handler", "operator", type_="foreignkey")
    op.drop_column("operator", "handler_id")
    op.drop_column("operator", "organization_id")
    for table in ("handler_change", "handler", "contract", "organization"):
        op.drop_table(table)
