"""How `tabane case` prints cases: the live line first, then what the tablet has done, in Japan's time. Asks nothing."""

from datetime import datetime
from typing import Any

from mdm.organization.hours import JST


def print_line(each: dict[str, Any], now: str) -> None:
    """Print one case of a list; `now` in ISO 8601 tells which are late."""
    late = "  OVERDUE" if each["closed_at"] is None and each["deadline_at"] < now else ""
    again = f"  escalated {each['escalations']}x" if each["escalations"] else ""
    print(
        f"{each['id']:>6}  {_japan(each['opened_at'])[:16]}  {each['kind']:<13} {each['state']:<18}"
        f" {each['control_number']:<14} {each['school_code']}{late}{again}"
    )


def print_case(case: dict[str, Any], *, timeline: bool = False) -> None:
    """Print where a case stands, what is waited for, and each thing that the tablet was asked."""
    case = case.get("case", case)
    print(f"Case {case['id']}: {case['kind']}, {case['state']}  {case['control_number']} ({case['serial']})")
    print(f"  {case['waits_for']['text']}")
    for each in case["commands"]:
        times = " · ".join(f"{_japan(step['at'])[5:]} {step['text']}" for step in each["steps"])
        print(f"  {each['kind']}: {times}")
        for error in each["error"]:
            print(f"    error: {error}")
        if each["state"] == "held" and each["approval_id"]:
            print(f"    Waits for a second person: tabane approval approve {each['approval_id']}")
    for each in case["repairs"]:
        print(f"  repair {each['order_number']} at {each['vendor']}: {each['sent_on']} to {each['back_on'] or '…'}")
    if case["spare_number"]:
        print(f"  spare: {case['spare_number']}")
    if timeline:
        for each in case["timeline"]:
            details = ", ".join(f"{name} {value}" for name, value in sorted(each["details"].items()))
            print(f"  {_japan(each['at'])}  {each['actor']:<22} {each['what']:<16} {details}")


def _japan(at: str) -> str:
    """Return a moment as whoever calls the desk would say it."""
    return datetime.fromisoformat(at).astimezone(JST).strftime("%Y-%m-%d %H:%M:%S")
