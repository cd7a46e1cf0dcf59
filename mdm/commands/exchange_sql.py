"""The SQL of the exchange: three statements, each for many tablets at once. Nothing else belongs here.

The planner settings of the pool keep these on index look-ups whatever the statistics say (`exchange.PLANNER`).
"""

from typing import Final

from mdm.commands.kinds import FACTS

_GATED = ", ".join(f"'{kind.value}'" for kind, facts in FACTS.items() if facts.needs_lost_mode)

SETTLE: Final = """
WITH said AS MATERIALIZED (
    SELECT s.n, s.id, s.state, s.error, s.result, i.device_id, e.epoch
    FROM jsonb_to_recordset(%s::jsonb)
        AS s(n integer, sha256 text, name text, id uuid, state text, error jsonb, result jsonb)
    JOIN device_identity i ON i.sha256 = decode(s.sha256, 'hex')
    JOIN enrollment e ON e.device_id = i.device_id
    WHERE i.associated_at IS NOT NULL AND i.revoked_at IS NULL AND e.status = 'active' AND e.udid = s.name
), settled AS (
    UPDATE command c SET
        state = said.state,
        ended_at = CASE WHEN said.state <> 'not_now' THEN now() END,
        not_now_at = CASE WHEN said.state = 'not_now' THEN now() ELSE c.not_now_at END,
        not_now_count = c.not_now_count + (said.state = 'not_now')::integer,
        error = said.error,
        result = said.result
    FROM said
    WHERE c.id = said.id AND c.device_id = said.device_id AND c.epoch = said.epoch
        AND c.state IN ('queued', 'sent', 'delivered', 'not_now')
        AND NOT (c.state = 'not_now' AND said.state = 'not_now')
    RETURNING said.n, c.device_id, c.id, c.kind, c.state
), late AS (
    UPDATE command c SET result = coalesce(said.result, '{}')
    FROM said
    WHERE c.id = said.id AND c.device_id = said.device_id AND c.epoch = said.epoch AND said.state = 'done'
        AND c.state IN ('expired', 'cancelled', 'superseded') AND c.delivered_at IS NOT NULL AND c.result IS NULL
    RETURNING said.n, c.device_id, c.id, c.kind, c.state
), logged AS (
    INSERT INTO command_event (command_id, state, note)
    SELECT id, state, '' FROM settled
    UNION ALL
    SELECT id, state, 'the tablet had done it all the same' FROM late
), profiled AS (
    UPDATE device_profile p SET
        installed = CASE WHEN said.state = 'done' THEN p.wanted ELSE p.installed END,
        status = CASE said.state WHEN 'done' THEN 'installed' ELSE said.state END,
        error = said.error,
        changed_at = now()
    FROM said
    WHERE p.device_id = said.device_id AND p.command_id = said.id AND p.status IN ('pending', 'not_now')
        AND NOT (p.wanted IS NULL AND (said.state = 'done' OR (said.state = 'failed' AND p.installed IS NULL)))
), removed AS (
    DELETE FROM device_profile p USING said
    WHERE p.device_id = said.device_id AND p.command_id = said.id AND p.status IN ('pending', 'not_now')
        AND p.wanted IS NULL AND (said.state = 'done' OR (said.state = 'failed' AND p.installed IS NULL))
)
SELECT n, device_id, kind, state = 'done' AS done FROM settled
UNION ALL
SELECT n, device_id, kind, true FROM late
"""
"""Compare-and-set: a tablet ends only what is open, its own, and of its own epoch; everything else is a no-op.

Returns (n, device id, kind, done) of what took effect. A late acknowledgement of what was cancelled after delivery
leaves the state alone, yet its effect on the tablet is real, so it is returned too, once.
"""

LOOK: Final = f"""
WITH asked AS MATERIALIZED (
    SELECT a.n, substring(%s::bytea FROM ((a.n - 1) * 32 + 1)::integer FOR 32) AS sha256, a.name, a.idle = '1' AS idle
    FROM ROWS FROM (unnest(string_to_array(%s::text, ',')), unnest(string_to_array(%s::text, ',')))
        WITH ORDINALITY AS a(name, idle, n)
), looked AS MATERIALIZED (
    SELECT asked.n, e.device_id, c.id AS command_id, c.kind, c.arguments, w.generation,
        CASE WHEN e.device_id IS NULL THEN 'stranger'
            WHEN e.status = 'ended' THEN 'gone'
            WHEN i.revoked_at IS NOT NULL THEN 'stranger'
            ELSE 'known' END AS verdict,
        e.status = 'active' AND c.id IS NULL AND e.desired_manifest IS NOT NULL
            AND e.desired_manifest IS DISTINCT FROM e.installed_manifest AS profiles
    FROM asked
    LEFT JOIN device_identity i ON i.sha256 = asked.sha256
    LEFT JOIN enrollment e ON e.device_id = i.device_id AND e.udid = asked.name AND i.associated_at IS NOT NULL
    LEFT JOIN wakeup w ON w.device_id = e.device_id
    LEFT JOIN LATERAL (
        SELECT c.id, c.kind, c.arguments FROM command c
        WHERE c.device_id = e.device_id AND c.state IN ('queued', 'sent', 'delivered', 'not_now')
            AND e.status = 'active' AND i.revoked_at IS NULL AND c.epoch = e.epoch
            AND (c.not_before IS NULL OR c.not_before <= now()) AND c.expires_at > now()
            AND (asked.idle OR c.state <> 'not_now')
            AND (e.lost_mode OR c.kind NOT IN ({_GATED}))
        ORDER BY c.lane, c.id LIMIT 1
    ) c ON true
), handed AS (
    UPDATE command c SET state = 'delivered', delivered_at = now()
    FROM looked WHERE c.id = looked.command_id AND c.state IN ('queued', 'sent', 'delivered', 'not_now')
    RETURNING c.id
), logged AS (
    INSERT INTO command_event (command_id, state) SELECT id, 'delivered' FROM handed
), due AS MATERIALIZED (
    SELECT w.device_id, looked.command_id IS NULL AS rest FROM looked
    JOIN wakeup w ON w.device_id = looked.device_id AND w.generation = looked.generation
    WHERE looked.verdict = 'known' AND NOT looked.profiles
    FOR UPDATE OF w SKIP LOCKED
), later AS MATERIALIZED (
    SELECT due.device_id, min(CASE
        WHEN c.not_before > now() THEN c.not_before
        WHEN c.state = 'not_now' AND c.lane = 0 THEN now() + interval '2 minutes'
        WHEN c.state = 'not_now'
            THEN c.not_now_at + interval '15 minutes' * least(power(2, c.not_now_count - 1), 16) END) AS at
    FROM due JOIN command c ON c.device_id = due.device_id AND c.state IN ('queued', 'sent', 'delivered', 'not_now')
    WHERE due.rest AND c.expires_at > now()
    GROUP BY due.device_id
), cleared AS (
    DELETE FROM wakeup w USING due LEFT JOIN later USING (device_id)
    WHERE w.device_id = due.device_id AND due.rest AND later.at IS NULL
), kept AS (
    UPDATE wakeup w SET attempts = 0, lease_until = NULL, lease_token = NULL,
        due_at = greatest(w.due_at, coalesce(later.at, now() + interval '2 minutes'))
    FROM due LEFT JOIN later USING (device_id)
    WHERE w.device_id = due.device_id AND (NOT due.rest OR later.at IS NOT NULL)
)
SELECT looked.n, looked.verdict, looked.device_id, handed.id, looked.kind, looked.arguments,
    looked.profiles
FROM looked LEFT JOIN handed ON handed.id = looked.command_id
WHERE looked.verdict <> 'known' OR handed.id IS NOT NULL OR looked.profiles
"""
"""For each tablet that asks: who it is, the next command (stamped as delivered), or whether its profiles need work.

Only what is not plain "known, nothing to do" comes back. One statement is one snapshot: a wake-up is cleared only if no
work came in since (`generation`), and one that somebody else holds locked is left alone, at the price of an extra push.
While a tablet is being served its wake-up rests; what it put off (NotNow) or what has a later time is due then.
"""

SEEN: Final = """
WITH seen AS MATERIALIZED (
    SELECT e.device_id, max(s.at) AS at
    FROM ROWS FROM (unnest(%s::bytea[]), unnest(%s::double precision[])) AS s(sha256, at)
    JOIN device_identity i ON i.sha256 = s.sha256
    JOIN enrollment e ON e.device_id = i.device_id
    GROUP BY e.device_id
), locked AS MATERIALIZED (
    SELECT e.device_id, to_timestamp(seen.at) AS at FROM seen JOIN enrollment e ON e.device_id = seen.device_id
    ORDER BY e.device_id FOR NO KEY UPDATE OF e
)
UPDATE enrollment e SET last_seen_at = greatest(e.last_seen_at, locked.at) FROM locked
WHERE e.device_id = locked.device_id
"""
"""Write down when tablets were last heard; locks in the order of ids, as every transaction that locks several must."""
