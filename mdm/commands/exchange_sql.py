"""The SQL of the exchange: each statement serves many tablets at once. Nothing else belongs here.

Plans are made once and must be index look-ups whatever the statistics say: hence the LATERAL sub-queries behind
`OFFSET 0`, which cannot be flattened into a scan, the ORDER BY that only `command_open` gives without a sort, and NOT
IN (or an expression) where a partial index over many rows would tempt the planner. What is written is found by
`= ANY (ARRAY[x])`: by `=`, a table that was empty when the plan was made is read whole, in the key's order, every time.
"""

from typing import Final

from mdm.commands.kinds import FACTS, Kind

_GATED: Final = ", ".join(f"'{kind.value}'" for kind, facts in FACTS.items() if facts.needs_lost_mode)
_OPEN: Final = "IN ('queued', 'sent', 'delivered', 'not_now')"
SESSION: Final = "interval '1 minute'"
"""What a tablet put off longer ago than this, it put off in an earlier session (apple.md §1.4): it may be offered again
although this one began a while ago. Otherwise an unlocked tablet would get one of two such orders and then wait."""
_NOT_OPEN: Final = "IN ('held', 'done', 'failed', 'expired', 'cancelled', 'superseded')"

_KNOWN: Final = ", ".join(f"'{kind.value}'" for kind in Kind)
_LOST_MODE: Final = f"'{Kind.LOST_MODE_ON.value}', '{Kind.LOST_MODE_OFF.value}'"
_FEW: Final = "BETWEEN 0 AND 1000000"
"""Always true of a number in a batch. The planner takes it for one row in two hundred: batches come first."""

_SAID: Final = f"""
WITH said AS MATERIALIZED (
    SELECT s.n, s.id, s.state, s.more -> 'error' AS error, s.more -> 'result' AS result, e.device_id, e.epoch
    FROM (
        SELECT a.n, substring(%s::bytea FROM ((a.n - 1) * 32 + 1)::integer FOR 32) AS sha256, a.name, a.id::uuid AS id,
            a.state, %s::jsonb -> a.n::text AS more
        FROM ROWS FROM (unnest(string_to_array(%s::text, ',')), unnest(string_to_array(%s::text, ',')),
            unnest(string_to_array(%s::text, ','))) WITH ORDINALITY AS a(name, id, state, n)
        WHERE a.n {_FEW} OFFSET 0
    ) s
    JOIN LATERAL (
        SELECT i.device_id, i.revoked_at FROM device_identity i
        WHERE i.sha256 = s.sha256 AND i.associated_at IS NOT NULL OFFSET 0
    ) i ON i.revoked_at IS NULL
    JOIN LATERAL (
        SELECT e.device_id, e.epoch FROM enrollment e
        WHERE e.device_id = i.device_id AND e.status = 'active' AND e.udid = s.name OFFSET 0
    ) e ON true
)"""
"""What tablets report, as far as a valid identity of an enrolled tablet says it of itself."""
_LATE: Final = """
    UPDATE {table} c SET result = coalesce(said.result, '{{}}')
    FROM said
    WHERE c.id = ANY (ARRAY[said.id]) AND c.device_id = ANY (ARRAY[said.device_id])
        AND c.epoch = said.epoch AND said.state = 'done'
        AND c.state || '' IN ('expired', 'cancelled', 'superseded')
        AND c.delivered_at IS NOT NULL AND c.result IS NULL
    RETURNING said.n, c.device_id, c.id, c.kind, c.state
"""
_LATE_NOTE: Final = "the tablet had done it all the same"
_LOST: Final = """), locked AS MATERIALIZED (
    SELECT e.device_id FROM enrollment e WHERE e.device_id = ANY (ARRAY (SELECT device_id FROM switched))
    ORDER BY e.device_id FOR NO KEY UPDATE
), lost AS (
    UPDATE enrollment e SET lost_mode = switched.kind = 'lost_mode_on' FROM switched
    WHERE e.device_id = switched.device_id AND e.device_id = ANY (ARRAY (SELECT device_id FROM locked))
)"""
"""A tablet that says so is in lost mode, or out of it, before its next work is looked for."""

SETTLE: Final = f"""{_SAID}, settled AS (
    UPDATE command c SET
        state = said.state,
        ended_at = CASE WHEN said.state <> 'not_now' THEN now() END,
        not_now_at = CASE WHEN said.state = 'not_now' THEN now() ELSE c.not_now_at END,
        not_now_count = c.not_now_count + (said.state = 'not_now')::integer,
        error = said.error,
        result = said.result
    FROM said
    WHERE c.id = ANY (ARRAY[said.id]) AND c.device_id = ANY (ARRAY[said.device_id])
        AND c.epoch = said.epoch AND NOT c.state {_NOT_OPEN} AND NOT (c.state = 'not_now' AND said.state = 'not_now')
    RETURNING said.n, c.device_id, c.id, c.kind, c.state
), late AS ({_LATE.format(table="command")}), logged AS (
    INSERT INTO command_event (command_id, state, note)
    SELECT id, state, '' FROM settled
    UNION ALL
    SELECT id, state, '{_LATE_NOTE}' FROM late
), switched AS MATERIALIZED (
    SELECT device_id, kind FROM settled WHERE kind IN ({_LOST_MODE}) AND state = 'done'
    UNION ALL
    SELECT device_id, kind FROM late WHERE kind IN ({_LOST_MODE})
{_LOST}, profiled AS (
    UPDATE device_profile p SET
        installed = CASE WHEN said.state = 'done' THEN p.wanted ELSE p.installed END,
        status = CASE said.state WHEN 'done' THEN 'installed' ELSE said.state END,
        error = said.error,
        changed_at = now()
    FROM said
    WHERE p.device_id = ANY (ARRAY[said.device_id]) AND p.command_id = said.id AND p.status IN ('pending', 'not_now')
        AND NOT (p.wanted IS NULL AND (said.state = 'done' OR (said.state = 'failed' AND p.installed IS NULL)))
    RETURNING said.n, p.device_id
), removed AS (
    DELETE FROM device_profile p USING said
    WHERE p.device_id = ANY (ARRAY[said.device_id]) AND p.command_id = said.id AND p.status IN ('pending', 'not_now')
        AND p.wanted IS NULL AND (said.state = 'done' OR (said.state = 'failed' AND p.installed IS NULL))
    RETURNING said.n, p.device_id
)
SELECT n, device_id, kind, state = 'done' AS done FROM settled
UNION ALL
SELECT n, device_id, kind, true FROM late
UNION ALL
SELECT n, device_id, NULL, true FROM profiled
UNION ALL
SELECT n, device_id, NULL, true FROM removed
"""
"""Compare-and-set: a tablet ends only what is open, its own, and of its own epoch; everything else is a no-op.

Returns (n, device id, kind, done) of what took effect; the kind is NULL where it was a profile. A late acknowledgement
of what was cancelled after delivery leaves the state alone, yet its effect on the tablet is real, so it is returned
too, once.
"""

SETTLE_PAST: Final = f"""{_SAID}, late AS ({_LATE.format(table="command_past")}), logged AS (
    INSERT INTO command_event (command_id, state, note) SELECT id, state, '{_LATE_NOTE}' FROM late
), switched AS MATERIALIZED (
    SELECT device_id, kind FROM late WHERE kind IN ({_LOST_MODE})
{_LOST}
SELECT n, device_id, kind, true FROM late
"""
"""The same for what `SETTLE` did not find: a late acknowledgement of a command whose row has gone to the past."""

LOOK: Final = f"""
SELECT asked.n, CASE
        WHEN e.device_id IS NULL THEN 'stranger'
        WHEN e.status = 'ended' THEN 'gone'
        WHEN i.revoked_at IS NOT NULL THEN 'stranger'
        ELSE 'known' END AS verdict,
    e.device_id, w.generation, c.id, c.kind, c.arguments,
    e.status = 'active' AND c.id IS NULL AND e.desired_manifest IS NOT NULL
        AND e.desired_manifest IS DISTINCT FROM e.installed_manifest AS profiles
FROM (
    SELECT a.n, substring(%s::bytea FROM ((a.n - 1) * 32 + 1)::integer FOR 32) AS sha256, a.name, a.idle = '1' AS idle
    FROM ROWS FROM (unnest(string_to_array(%s::text, ',')), unnest(string_to_array(%s::text, ',')))
        WITH ORDINALITY AS a(name, idle, n) OFFSET 0
) asked
LEFT JOIN LATERAL (
    SELECT i.device_id, i.revoked_at FROM device_identity i
    WHERE i.sha256 = asked.sha256 AND i.associated_at IS NOT NULL OFFSET 0
) i ON true
LEFT JOIN LATERAL (
    SELECT e.device_id, e.status, e.epoch, e.lost_mode, e.desired_manifest, e.installed_manifest FROM enrollment e
    WHERE e.device_id = i.device_id AND e.udid = asked.name OFFSET 0
) e ON true
LEFT JOIN LATERAL (SELECT w.generation FROM wakeup w WHERE w.device_id = e.device_id OFFSET 0) w ON true
LEFT JOIN LATERAL (
    SELECT o.id, o.kind, o.arguments FROM (
        SELECT c.id, c.kind, c.arguments, c.epoch, c.state, c.not_now_at, c.lane, c.not_before, c.expires_at
        FROM command c
        WHERE c.device_id = e.device_id AND c.state {_OPEN} ORDER BY c.lane, c.id OFFSET 0
    ) o
    WHERE e.status = 'active' AND i.revoked_at IS NULL AND o.epoch = e.epoch
        AND (o.not_before IS NULL OR o.not_before <= now()) AND o.expires_at > now()
        AND (asked.idle OR o.state <> 'not_now' OR o.not_now_at < now() - {SESSION})
        AND (e.lost_mode OR o.kind NOT IN ({_GATED}))
    ORDER BY o.lane, o.id LIMIT 1
) c ON true
WHERE e.device_id IS NULL OR e.status <> 'active' OR i.revoked_at IS NOT NULL OR w.generation IS NOT NULL
    OR c.id IS NOT NULL OR (e.desired_manifest IS NOT NULL
        AND e.desired_manifest IS DISTINCT FROM e.installed_manifest)
"""
"""For each tablet that asks: who it is, its next command, whether its profiles need work, whether a wake-up waits.

Only what is not plain "known, nothing to do" comes back. It writes nothing, so that the idle fleet costs no commit.
"""

AWAKE: Final = """attempts = 0, lease_until = NULL, lease_token = NULL, due_at = CASE WHEN w.attempts > 0
    THEN now() + interval '2 minutes' ELSE greatest(w.due_at, now() + interval '2 minutes') END"""
"""A tablet that is being served is awake. Should it fall silent, it is due again in two minutes, and not only when one
that never answered a push would be; what is planned for later stays planned."""
STAMPED: Final = "stamped"

_STAMP: Final = f""", handed AS (
    UPDATE command c SET state = 'delivered', delivered_at = now() FROM looked l
    WHERE c.id = ANY (ARRAY[l.id]) AND c.device_id = ANY (ARRAY[l.device_id]) AND l.n {_FEW}
        AND c.kind IN ({_KNOWN}) AND NOT c.state {_NOT_OPEN}
    RETURNING c.id, c.device_id
), logged AS (
    INSERT INTO command_event (command_id, state) SELECT id, 'delivered' FROM handed
), locked AS MATERIALIZED (
    SELECT w.device_id FROM wakeup w WHERE w.device_id = ANY (ARRAY (SELECT device_id FROM handed))
        AND (w.due_at < now() + interval '1 minute' OR w.attempts > 0 OR w.lease_until IS NOT NULL)
    FOR UPDATE SKIP LOCKED
), rested AS (
    UPDATE wakeup w SET {AWAKE} WHERE w.device_id = ANY (ARRAY (SELECT device_id FROM locked))
)"""
"""Stamp commands as delivered, in the transaction whose commit precedes the answer; only those returned may leave.

While a tablet is being served its wake-up rests (`AWAKE`); that is not written anew at each of a dozen commands in a
row. A kind that a newer version enqueued waits for that version. One that a tablet asks for twice at once, because an
answer was lost, is stamped once and handed to both: nobody knows which of the two is still listening.
"""

HAND: Final = f"""
WITH looked AS MATERIALIZED (
    SELECT h.id, h.device_id, h.n
    FROM ROWS FROM (unnest(%s::uuid[]), unnest(%s::bigint[])) WITH ORDINALITY AS h(id, device_id, n)
){_STAMP}
SELECT id FROM handed
"""
"""Stamp what a look found, if it still may leave."""

NEXT: Final = f"""
WITH looked AS MATERIALIZED ({LOOK}){_STAMP}
SELECT n, verdict, device_id, generation, id, kind, arguments, profiles FROM looked
UNION ALL
SELECT 0, '{STAMPED}', device_id, NULL, id, NULL, NULL, false FROM handed
"""
"""Look and stamp at once, for those who reported: in the transaction that settles, so that one commit is for both.

What was found, as `LOOK` has it, and then which commands were stamped."""

REST: Final = f"""
WITH asked AS MATERIALIZED (
    SELECT s.device_id, s.generation, s.put_off
    FROM ROWS FROM (unnest(%s::bigint[]), unnest(%s::bigint[]), unnest(%s::boolean[]))
        AS s(device_id, generation, put_off)
), due AS MATERIALIZED (
    SELECT w.device_id, asked.put_off, e.epoch, e.lost_mode FROM asked
    JOIN wakeup w ON w.device_id = asked.device_id AND w.generation = asked.generation
        AND w.device_id = ANY (ARRAY (SELECT device_id FROM asked))
    JOIN LATERAL (SELECT e.epoch, e.lost_mode FROM enrollment e WHERE e.device_id = w.device_id OFFSET 0) e ON true
    FOR UPDATE OF w SKIP LOCKED
), later AS MATERIALIZED (
    SELECT due.device_id, least(CASE WHEN due.put_off THEN now() + interval '15 minutes' END, c.at) AS at
    FROM due CROSS JOIN LATERAL (
        SELECT min(CASE
            WHEN o.not_before > now() THEN o.not_before
            WHEN o.state = 'not_now' AND o.lane = 0 THEN now() + interval '2 minutes'
            WHEN o.state = 'not_now'
                THEN o.not_now_at + interval '15 minutes' * least(power(2, o.not_now_count - 1), 16)
            ELSE now() END) AS at
        FROM (
            SELECT c.* FROM command c WHERE c.device_id = due.device_id AND c.state {_OPEN}
            ORDER BY c.lane, c.id OFFSET 0
        ) o
        WHERE o.epoch = due.epoch AND o.expires_at > now() AND (due.lost_mode OR o.kind NOT IN ({_GATED}))
    ) c
), cleared AS (
    DELETE FROM wakeup w WHERE w.device_id = ANY (ARRAY (SELECT device_id FROM later WHERE at IS NULL))
)
UPDATE wakeup w SET attempts = 0, lease_until = NULL, lease_token = NULL,
    due_at = later.at
FROM later
WHERE w.device_id = later.device_id AND later.at > now()
    AND w.device_id = ANY (ARRAY (SELECT device_id FROM later))
"""
"""End the wake-ups of tablets found to have nothing to do: device, generation seen, whether profiles were put off.

Cleared only if no work came in since: the generation must be the same and no command may be open for now. What the
tablet put off (NotNow) or what has a later time moves the wake-up there. A row that somebody else holds locked stays
as it is, at the price of one more push.
"""

SEEN: Final = """
WITH who AS MATERIALIZED (
    SELECT DISTINCT i.device_id FROM unnest(%s::bytea[]) AS s(sha256)
    JOIN LATERAL (SELECT i.device_id FROM device_identity i WHERE i.sha256 = s.sha256 OFFSET 0) i ON true
), locked AS MATERIALIZED (
    SELECT e.device_id FROM enrollment e WHERE e.device_id = ANY (ARRAY (SELECT device_id FROM who))
    ORDER BY e.device_id FOR NO KEY UPDATE
)
UPDATE enrollment e SET last_seen_at = greatest(e.last_seen_at, to_timestamp(%s::double precision))
WHERE e.device_id = ANY (ARRAY (SELECT device_id FROM locked))
"""
"""Write down when tablets were last heard; locks in the order of ids, as every transaction that locks several must.

No joins of one long list with another: the pool's planner settings would make them quadratic.
"""
