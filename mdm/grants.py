"""Which process may do what to which table. A list, and nothing else.

Around class A, the trail and accounts it is the least that the code needs; of lines and usage web and worker have more.

A table that a migration adds takes a line here; a test fails without one, and the suite runs under these rights.
"""

from typing import Final

PROCESSES: Final = ("web", "door", "worker", "sender")
"""What connects to the database: as a role of its own, named `tabane_web` and so on. Beat reads no row."""

TABLES: Final = """
alembic_version          web=s door=s
approval                 web=siu(decided_at,decided_by,key_id,signature,state,urgent)
approval                 door=s worker=su(decided_at,state) sender=su(executed_at)
approver_key             web=siu(revoked_at,sign_count) worker=s sender=s
artifact                 web=si door=s worker=si
audit_checkpoint         web=s worker=si
audit_event              web=si door=si worker=si sender=si
authority                web=si door=si worker=s
breaker_event            web=si door=s worker=s sender=s
budget_entry             web=si door=si worker=si
campaign                 web=siu worker=su sender=su
campaign_signature       web=si worker=s sender=s
campaign_tablet          web=siu worker=su sender=su
carrier_account          web=siu worker=su
case_command             web=si door=si worker=si sender=s
case_event               web=si door=si worker=si
case_repair              web=siu door=s worker=s
ceremony                 web=sid worker=sd
check_evidence           web=siu worker=siu sender=s
check_school             web=si worker=si
check_step               web=s worker=si
check_task               web=siu worker=siu sender=s
class_a_release          web=s worker=s sender=si
command                  web=siu(approval_id,ended_at,not_before,result,state) door=siu worker=siud sender=su
command_event            web=si door=si worker=si sender=si
command_finding          worker=si
command_past             web=su door=su worker=siu sender=s
contract                 web=siu worker=s sender=s
credential               web=siu worker=s
desk_setting             web=si door=s worker=s
device                   web=siu door=su worker=su sender=s
device_identity          door=siu worker=s
device_profile           web=sud door=siud worker=sud
device_report            web=s door=siu worker=s
enrollment               web=siu(desired_manifest,desired_stale,installed_manifest) door=su
enrollment               worker=su(desired_manifest,desired_stale,installed_manifest,last_push_at,unreachable_since)
enrollment               sender=s
forecast_snapshot        web=siud worker=siud
handler                  web=siu worker=s sender=s
handler_change           web=si
holder                   web=siu worker=s sender=s
idempotency_record       web=siu worker=sd
import_batch             web=siud worker=siud
import_row               web=siud worker=siud
manifest                 web=si worker=si
manifest_item            web=si door=s worker=si
notice                   web=si worker=siu sender=si
notice_matter            web=si worker=siud sender=si
operator                 web=siu worker=s sender=s
operator_identity        web=siu
operator_school          web=sid sender=s
organization             web=siu worker=s sender=s
passkey                  web=siud
plan                     web=siu worker=siu
plan_pool                web=si worker=siu
plan_version             web=siu worker=siu
policy                   web=siu worker=su
policy_exception         web=siu worker=su
policy_revision          web=si worker=s
policy_turn              web=sid worker=sd
poll_cursor              web=siud worker=siud
pool_extra               web=si worker=siu
pool_membership          web=siud worker=siud
recovery_code            web=siud
ring                     web=siud
rollout                  web=siu worker=su
rollout_target           web=siu worker=su
rollout_wave             web=siu worker=su
safeguard_threshold      web=si door=s worker=s sender=s
scep_transaction         door=siu worker=sd
school                   web=siu door=s worker=s sender=s
school_calendar          web=siud door=s worker=s sender=s
school_class             web=si worker=s
sign_in_attempt          web=sid worker=sd
sim                      web=siu worker=siu
sim_action               web=siud worker=siud
sim_binding              web=siu worker=siu
sim_finding              web=siud worker=siud
sim_observation          web=siud worker=siud
sim_observation_default  worker=s
sim_round                web=siud worker=siud
support_case             web=siu door=su worker=su sender=s
threshold_event          web=siud worker=siud
threshold_request        web=siu(decided_at,decided_by,key_id,signature,state) door=s worker=s sender=s
threshold_rule           web=siud worker=siud
throttle_limit           web=si worker=s
ticket                   web=siu door=su worker=sidu(revoked_at)
totp                     web=siud
usage_adjustment         web=siud worker=siud
usage_cycle              web=siud worker=siud
usage_daily              web=siud worker=siud
usage_daily_default      worker=s
usage_hourly             web=siud worker=siud
usage_hourly_default     worker=s
usage_raw                web=siud worker=siud
usage_revision           web=siud worker=siud
usage_revision_default   worker=s
usage_shown              web=s worker=s
usage_snapshot           web=siud worker=siud
usage_snapshot_default   worker=s
verification             web=s door=siud worker=su
wakeup                   web=siu door=siud worker=siud sender=siu
whereabouts_check        web=siu worker=siu sender=s
"""
"""`s` reads, `i` adds, `u` changes (with parentheses: these columns only; locking a row takes it too), `d` removes.

The part of a table by month that holds what has no month yet is named like the table, with `_default`.
"""

FUNCTIONS: Final = """
command_is_role(text)                          web door worker sender
command_class_a_is_signed(command)             web door worker sender
month_key(text)
month_part_make(text, date)                    worker
month_parts_drop(text, date)                   worker
"""
"""What is called by name, or by a trigger's function as whoever changes the row. Triggers' own need no right."""

TEMPORARY: Final = ("web", "worker")
"""Who sorts files and figures in tables of its own, for the length of a transaction."""
