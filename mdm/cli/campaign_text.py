"""Bulk wipes in words for people. Pure, but that it prints."""

import json
from collections import Counter
from typing import Any

import typer

_NAMES = {
    "waiting": "waiting",
    "held": "held",
    "sent": "sent, not answered",
    "done": "wiped",
    "failed": "failed",
    "fell_out": "fell out",
}


def print_plan(found: dict[str, Any]) -> None:
    """Show who would be wiped, school by school, and who not and why."""
    schools = Counter(each["school"] for each in found["tablets"])
    waves = ", ".join(map(str, found["waves"]))
    print(f"{len(found['tablets'])} tablets would be wiped, in waves of {waves} an hour:")
    for school, number in sorted(schools.items()):
        print(f"  {school:<12} {number}")
    print_left_out(found["left_out"])


def print_left_out(lines: list[dict[str, Any]]) -> None:
    """Show who is left out, by reason."""
    for reason, number in sorted(Counter(each["reason"] for each in lines).items()):
        named = [each["control_number"] for each in lines if each["reason"] == reason][:10]
        print(f"left out, {reason}: {number} ({', '.join(named)}{', …' if number > len(named) else ''})")


def print_line(campaign: dict[str, Any]) -> None:
    """Show a campaign in two lines."""
    print(f"{campaign['id']}  {campaign['state']:<9} {campaign['tablets']:>6} tablets  {campaign['name']}")
    counts = [f"{number} {_NAMES[state]}" for state, number in campaign["counts"].items() if number]
    note = f"; {campaign['note']}" if campaign["note"] else ""
    print(f"    asked by {campaign['requested_by']}: {campaign['reason']}; {', '.join(counts)}{note}")


def print_campaign(campaign: dict[str, Any], tablets: list[dict[str, Any]]) -> None:
    """Show a campaign whole."""
    print_line(campaign)
    window = campaign["window"]
    days = ", ".join(window["weekdays"])
    print(f"    {window['first_day']} to {window['last_day']}, {window['hours']}, {days}")
    for each in campaign["signatures"]:
        print(f"    signed for the {each['side']} by {each['by']}, {each['signed_at'][:16]}Z")
    if campaign["not_before"]:
        print(f"    not before {campaign['not_before'][:16]}Z; wave {campaign['wave']}")
    print_left_out(campaign["left_out_tablets"])
    for each in tablets:
        print(f"  {each['control_number']:<14} {each['serial']:<14} {_NAMES[each['state']]}  {each['reason']}".rstrip())


def print_signed(campaign: dict[str, Any], subject: dict[str, Any], tablets: list[dict[str, Any]]) -> None:
    """Show on standard error everything that a signature covers; as JSON, which no text in it can break out of."""
    reason = json.dumps(campaign["reason"], ensure_ascii=False)
    lines = [f"a bulk wipe, asked by {campaign['requested_by']}: {reason}"]
    lines.append(f"  {json.dumps(subject, ensure_ascii=False, sort_keys=True)}")
    names = ("school", "control_number", "serial", "scanned_at")
    ordered = sorted(tablets, key=lambda each: (each["school"], each["control_number"]))
    lines += [f"  {json.dumps([each[name] for name in names], ensure_ascii=False)}" for each in ordered]
    typer.echo("\n".join(lines), err=True)
