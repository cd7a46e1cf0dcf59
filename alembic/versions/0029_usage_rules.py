"""first rules of use"""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None

_RULES = """
INSERT INTO threshold_rule (scope, metric, level, limit_percent, action, parameters, reason, set_by)
SELECT x.*, 'a first value', 'system:first-values' FROM (VALUES
    ('sim', 'used', 1, 100, 'tell_tablet', CAST('{}' AS jsonb)),
    ('sim', 'used', 2, 150, 'tell_school', '{}'),
    ('sim', 'used', 3, 200, 'warn', '{"after_days": 1}'),
    ('sim', 'used', 4, 300, 'restrict', '{"after_days": 2}'),
    ('pool', 'used', 1, 80, 'page', '{}'),
    ('pool', 'used', 2, 100, 'page', '{}'),
    ('pool', 'forecast', 1, 100, 'page', '{}')
) x WHERE NOT EXISTS (SELECT FROM threshold_rule)
"""


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(sa.text(_RULES))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.execute(
        "DELETE FROM threshold_rule r WHERE set_by = 'system:first-values'"
        " AND NOT EXISTS (SELECT FROM threshold_event e WHERE e.rule_id = r.id)"
    )
