-- What a thief with the web process's own role in the database tries, one statement each: all that would let a wipe
-- leave, and all that would take the guards away. A blank line ends a statement.

-- The command itself.
UPDATE command SET state = 'queued' WHERE kind = 'wipe' AND state = 'held';

UPDATE command SET state = 'sent', sent_at = now() WHERE kind = 'wipe' AND state = 'held';

UPDATE command SET state = 'delivered', delivered_at = now() WHERE kind = 'wipe';

UPDATE command SET kind = 'wipe', arguments = '{}' WHERE state = 'queued';

UPDATE command SET kind = 'wipe', state = 'queued' WHERE state IN ('done', 'delivered', 'sent');

UPDATE command SET approval_id = (SELECT id FROM approval WHERE state = 'approved' LIMIT 1), state = 'queued' WHERE
kind = 'wipe';

INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at) SELECT uuidv7(),
device_id, epoch, 'wipe', '{}', 'stolen' || uuidv7()::text, 0, 'queued', now() + interval '1 day' FROM enrollment
WHERE status = 'active';

INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, approval_id) SELECT
uuidv7(), device_id, epoch, 'wipe', '{}', 'stolen' || uuidv7()::text, 0, 'queued', now() + interval '1 day', (SELECT
id FROM approval ORDER BY id DESC LIMIT 1) FROM enrollment WHERE status = 'active';

INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at) SELECT uuidv7(),
device_id, epoch, 'erase_device', '{}', 'raw' || uuidv7()::text, 0, 'queued', now() + interval '1 day' FROM
enrollment WHERE status = 'active';

-- The second person.
UPDATE approval SET state = 'approved', decided_at = now(), urgent = true WHERE state = 'pending';

UPDATE approval SET state = 'approved', decided_at = now(), urgent = true, decided_by = (SELECT id FROM operator
WHERE id <> requested_by LIMIT 1), key_id = (SELECT id FROM approver_key WHERE pinned_at IS NOT NULL LIMIT 1),
signature = '{"signature": "AAAA"}' WHERE state = 'pending';

UPDATE approval SET signature = (SELECT signature FROM approval WHERE signature IS NOT NULL LIMIT 1);

UPDATE approval SET subject = jsonb_set(subject, '{devices}', '[]') WHERE state = 'approved';

UPDATE approver_key SET pinned_at = now();

UPDATE approver_key SET public_key = sha256('stolen');

INSERT INTO approver_key (operator_id, kind, public_key, label, pinned_at) SELECT id, 'software',
sha256(convert_to(name, 'UTF8')), 'stolen', now() FROM operator;

DELETE FROM approver_key;

-- Budgets, thresholds, the breaker.
DELETE FROM budget_entry;

UPDATE budget_entry SET at = at - interval '30 days';

TRUNCATE budget_entry;

UPDATE safeguard_threshold SET value = 100000;

INSERT INTO safeguard_threshold (name, value) VALUES ('a_fleet_hour', 100000);

DELETE FROM breaker_event;

INSERT INTO breaker_event (kind) VALUES ('thawed');

ALTER TABLE command DISABLE TRIGGER ALL;

-- The guards themselves.
ALTER TABLE approval DISABLE TRIGGER ALL;

ALTER TABLE approver_key DISABLE TRIGGER ALL;

SET session_replication_role = 'replica';

SET ROLE tabane_sender;

SET ROLE tabane;

SET SESSION AUTHORIZATION tabane;

ALTER ROLE CURRENT_USER SUPERUSER;

GRANT tabane_sender TO CURRENT_USER;

DROP TABLE approval CASCADE;

CREATE OR REPLACE FUNCTION public.command_class_a_guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW;
END';

CREATE FUNCTION public.stolen() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';

COPY (SELECT 1) TO PROGRAM 'true';

DELETE FROM audit_event;

-- The trail.
UPDATE audit_event SET actor = 'operator:somebody';

TRUNCATE audit_event;
