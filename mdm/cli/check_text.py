"""Whereabouts checks in words for people. Pure, but that it prints."""

from collections.abc import Iterator
from typing import Any, Final

_OUTCOMES: Final = {
    "verified": "verified",
    "again": "verified before",
    "other_school": "verified, but belongs to another school",
    "excluded": "here, though the check leaves it out",
    "not_listed": "not on the list of this check",
    "unknown": "no such tablet in your schools",
    "repeated": "stands above already",
    "malformed": "not a control number",
}
_HANDS: Final = {"must_be_seen": "must be seen", "silent": "long silent"}


def summary(check: dict[str, Any]) -> str:
    """Say in a line what a check is."""
    again = "" if check["repeats"] == "never" else f", {check['repeats']}"
    return (
        f"{check['id']}  {check['state']:<9} {check['first_day']} to {check['last_day']}"
        f"  {check['name']} (fiscal {check['fiscal_year']}{again})"
    )


def print_check(check: dict[str, Any]) -> None:
    """Print a check, its counts and who was told."""
    print(summary(check))
    where = "every school" if check["all_schools"] else "chosen schools"
    print(f"  {where}; states {', '.join(check['states'])}; must be seen: {', '.join(check['by_hand']) or 'none'}")
    if check["state"] in ("running", "closed"):
        print(f"  {_counts(check['counts'])}")
    for step in check["steps"]:
        whom = f"school {step['school_code']}" if step["school_code"] else "the board"
        what = "reminded" if step["step"] == "reminder" else "told"
        print(f"  {step['done_at'][:10]}  {whom} {what} of {step['unverified']:,} tablets")
    if check["report_digest"]:
        print(f"  report frozen, SHA-256 {check['report_digest']}")


def print_progress(progress: dict[str, Any]) -> None:
    """Print how far schools are, or classes where there are any."""
    for each in progress["classes"]:
        name = "no class" if each["year"] is None else f"{each['year']}-{each['class_name']}"
        print(f"  {name:<12} {_counts(each['counts'])}")
    for each in [] if progress["classes"] else progress["schools"]:
        print(f"  {each['school_code']:<12} {_counts(each['counts'])}")


def _counts(counts: dict[str, int]) -> str:
    kinds = f"check-in {counts['by_checkin']:,}, scan {counts['by_scan']:,}, word {counts['by_word']:,}"
    hands = f"must be seen {counts['must_be_seen']:,}, long silent {counts['silent']:,}"
    return (
        f"{counts['verified']:,} of {counts['listed']:,} verified ({kinds}); {counts['unverified']:,} not ({hands});"
        f" {counts['excluded']:,} left out"
    )


def outcomes(taken: dict[str, Any]) -> Iterator[str]:
    """Say of each line that needs a look what became of it, then how many of each there are."""
    for line in taken["lines"]:
        if line["outcome"] in ("verified", "again") and not line["reason"]:
            continue
        reason = "in an open case of loss" if line["reason"] == "case" else line["reason"]
        more = ", ".join(each for each in (reason, line["school"]) if each)
        number = line["control_number"] or "?"
        yield f"line {line['line']:<5} {number:<16} {_OUTCOMES[line['outcome']]}{f' ({more})' if more else ''}"
    yield "; ".join(f"{count:,} {_OUTCOMES[outcome]}" for outcome, count in sorted(taken["counts"].items()))


def task_words(line: dict[str, Any]) -> str:
    """Say in a line which tablet is not verified."""
    place = "" if line["year"] is None else f"{line['year']}-{line['class_name']}"
    contact = line["last_contact"][:10] if line["last_contact"] else "never"
    notes = [_HANDS[line["hand"]]] if line["hand"] else []
    notes += [f"now {line['state_now']}"] if line["state_now"] != line["state"] else []
    notes += [f"scanned at {line['found_school'] or 'another school'}"] if line["found_elsewhere"] else []
    return (
        f"{line['school_code']:<8} {line['control_number']:<16} {place:<6} {line['user_id'] or '-':<16}"
        f" last contact {contact:<10}  {', '.join(notes)}"
    ).rstrip()
