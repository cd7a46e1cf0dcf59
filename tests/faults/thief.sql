-- What a thief with the web process's own role in the database tries, one statement each: all that would let a wipe
-- leave, and all that would take the guards away. A blank line ends a statement.

-- The command itself.
UPDATE command SET state = 'queued' WHERE kind = 'wipe' AND state = 'held';

UPDATE command SET state = 'sent', sent_at = now() WHERE kind = 'wipe' AND state = 'held';

UPDATE command SET state = 'delivered', delivered_at = now() WHERE kind = 'wipe';

UPDATE command SET state = 'held', ended_at = NULL WHERE kind = 'wipe' AND state IN ('done', 'cancelled');

UPDATE command SET kind = 'wipe', arguments = '{}' WHERE state = 'queued';

UPDATE command SET kind = 'wipe', state = 'queued' WHERE state IN ('done', 'delivered', 'sent');

UPDATE command SET approval_id = (SELECT id FROM approval WHERE state = 'approved' LIMIT 1), state = 'queued'
WHERE kind = 'wipe';

UPDATE command SET device_id = (SELECT max(id) FROM device), epoch = 1 WHERE kind = 'wipe';

INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at)
SELECT uuidv7(), device_id, epoch, 'wipe', '{}', 'stolen' || uuidv7()::text, 0, 'queued', now() + interval '1 day'
FROM enrollment WHERE status = 'active';

INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, approval_id)
SELECT uuidv7(), device_id, epoch, 'wipe', '{}', 'stolen' || uuidv7()::text, 0, 'queued', now() + interval '1 day',
(SELECT id FROM approval ORDER BY id DESC LIMIT 1) FROM enrollment WHERE status = 'active';

INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at, approval_id)
SELECT uuidv7(), device_id, epoch, 'wipe', '{}', 'stolen' || uuidv7()::text, 0, 'held', now() + interval '1 day',
(SELECT id FROM approval WHERE state = 'approved' LIMIT 1) FROM enrollment WHERE status = 'active';

INSERT INTO command (id, device_id, epoch, kind, arguments, dedupe_key, lane, state, expires_at)
SELECT uuidv7(), device_id, epoch, 'erase_device', '{}', 'raw' || uuidv7()::text, 0, 'queued', now() + interval '1 day'
FROM enrollment WHERE status = 'active';

INSERT INTO command_past SELECT * FROM command WHERE kind = 'wipe';

-- The second person.
UPDATE approval SET state = 'approved', decided_at = now(), urgent = true WHERE state = 'pending';

UPDATE approval SET state = 'approved', decided_at = now(), urgent = true, decided_by = (SELECT operator_id FROM
approver_key WHERE pinned_at IS NOT NULL AND operator_id <> requested_by LIMIT 1), key_id = (SELECT id FROM
approver_key WHERE pinned_at IS NOT NULL AND operator_id <> requested_by LIMIT 1), signature = '{"signature": "AAAA"}'
WHERE state = 'pending';

UPDATE approval SET signature = (SELECT signature FROM approval WHERE signature IS NOT NULL LIMIT 1);

UPDATE approval SET subject = jsonb_set(subject, '{devices}', '[]') WHERE state = 'approved';

UPDATE approval SET state = 'pending', executed_at = NULL WHERE state = 'approved';

UPDATE approver_key SET pinned_at = now();

UPDATE approver_key SET public_key = sha256('stolen');

UPDATE approver_key SET operator_id = (SELECT max(id) FROM operator), loosens = true;

INSERT INTO approver_key (operator_id, kind, public_key, label, pinned_at)
SELECT id, 'software', sha256(convert_to(name, 'UTF8')), 'stolen', now() FROM operator;

DELETE FROM approver_key;

UPDATE operator SET role = 'administrator', all_schools = true, elevated_at = NULL, made_on_host = true
WHERE role = 'support';

-- Budgets, thresholds, the breaker.
DELETE FROM budget_entry;

UPDATE budget_entry SET at = at - interval '30 days';

TRUNCATE budget_entry;

DELETE FROM class_a_release;

INSERT INTO class_a_release (command_id, device_id, school_id, signers) SELECT id, device_id, 0, '{}' FROM command;

UPDATE safeguard_threshold SET value = 100000;

INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('a.fleet.hour', 100000, 'host', 'maintenance');

INSERT INTO safeguard_threshold (name, value, set_by, reason, by_owner)
VALUES ('a.operator.hour', 100, 'host', 'maintenance', true);

INSERT INTO safeguard_threshold (name, value, set_by, reason) VALUES ('hold.minutes', 0, 'host', 'maintenance');

INSERT INTO threshold_request (name, value, before, reason, state, requested_by, expires_at)
SELECT 'a.operator.hour', 100, 3, 'maintenance', 'pending', min(id), now() + interval '1 day' FROM operator;

UPDATE threshold_request SET state = 'approved', decided_by = k.operator_id, key_id = k.id,
signature = '{"signature": "AAAA"}' FROM approver_key k WHERE k.loosens AND k.operator_id <> requested_by
AND state = 'pending';

INSERT INTO safeguard_threshold (name, value, set_by, approved_by, request_id, reason)
SELECT name, value, 'operator:first', 'operator:second', id, 'maintenance' FROM threshold_request
WHERE state = 'approved' ORDER BY id DESC LIMIT 1;

DELETE FROM breaker_event;

INSERT INTO breaker_event (what, actor, detail) VALUES ('thawed', 'operator:second', 'with operator:first');

INSERT INTO breaker_event (what, operator_id, actor, detail)
SELECT 'thaw_asked', min(id), 'operator:first', '' FROM operator;

INSERT INTO breaker_event (what, operator_id, actor, detail, asked_id, key_id, signature)
SELECT 'thawed', k.operator_id, 'operator:second', '', max(b.id), k.id, '{"signature": "AAAA"}'
FROM breaker_event b, approver_key k WHERE b.what = 'thaw_asked' AND k.loosens GROUP BY k.id, k.operator_id;

-- Who is who: another tablet behind a name, another name behind a key.
UPDATE device_identity SET device_id = (SELECT min(id) FROM device);

UPDATE enrollment SET epoch = epoch + 1;

UPDATE enrollment SET lost_mode = true, udid = NULL;

-- The guards themselves.
ALTER TABLE command DISABLE TRIGGER ALL;

ALTER TABLE approval DISABLE TRIGGER ALL;

ALTER TABLE approver_key DISABLE TRIGGER ALL;

SET session_replication_role = 'replica';

SET ROLE tabane_sender;

SET ROLE tabane_worker;

SET ROLE tabane;

SET SESSION AUTHORIZATION tabane;

ALTER ROLE CURRENT_USER SUPERUSER;

ALTER ROLE tabane_sender PASSWORD 'stolen';

GRANT tabane_sender TO CURRENT_USER;

DROP TABLE approval CASCADE;

CREATE OR REPLACE FUNCTION public.command_class_a_is_guarded() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW;
END';

CREATE FUNCTION public.stolen() RETURNS void LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';

CREATE TABLE public.stolen (id int);

SELECT month_parts_drop('command_event', current_date);

SELECT month_part_make('command (LIKE command); --', current_date);

COPY (SELECT 1) TO PROGRAM 'true';

SELECT pg_read_file('/etc/hostname');

SELECT * FROM pg_authid;

-- Tables of the session's own, which the guards would read if they had no path of their own.
CREATE TEMPORARY TABLE approval AS SELECT * FROM public.approval;
UPDATE pg_temp.approval SET state = 'approved', decided_by = -1, key_id = -1, signature = '{}';
CREATE TEMPORARY TABLE approver_key AS SELECT -1 AS id, -1 AS operator_id, now() AS pinned_at,
NULL::timestamptz AS revoked_at, true AS loosens;
UPDATE public.command SET state = 'queued' WHERE kind = 'wipe' AND state = 'held';

-- The trail.
DELETE FROM audit_event;

UPDATE audit_event SET actor = 'operator:somebody';

TRUNCATE audit_event;
