"""Rollouts and estimates as lines for people. Numbers come from the API; nothing is computed but sums of bytes."""

import sys
from collections.abc import Mapping
from typing import Any

_MOST_SCHOOLS = 10


def headline(found: Mapping[str, Any]) -> str:
    """What goes to whom, and where it stands."""
    return f"{found['policy']} revision {found['revision']} to {found['target']}: {found['state']}"


def numbers(counts: Mapping[str, int]) -> str:
    """Counts by stage, those that are not zero."""
    return ", ".join(f"{number} {stage}" for stage, number in counts.items() if number) or "no tablets"


def print_rollout(found: Mapping[str, Any]) -> None:
    """Print one rollout."""
    print(f"{found['id']}  {headline(found)}")
    print(f"  {numbers(found['counts'])}")
    _print_stops(found)
    if len(found["waves"]) > 1:
        for wave in found["waves"]:
            state = f"{wave['state']}, {numbers(wave['counts'])}" if wave["state"] != "waiting" else "waiting"
            print(f"  wave {wave['number']} ({wave['name']}): {wave['size']} tablets, {state}")
    if proved := ", ".join(f"{number} {status}" for status, number in found["proofs"].items() if number):
        print(f"  by their own word: {proved}")
    for why in found["reasons"]:
        print(f"  {why['stage']}: {why['tablets']}, {_tame(why['reason'])}")
    for gap in found["cannot"]:
        print(f"  {gap['tablets']} tablets cannot do {gap['pointer']}: {gap['reason']}")
    if found["expected_end"]:
        print(f"  expected end at this rate: {found['expected_end'][:19]}Z")


def print_estimate(found: Mapping[str, Any]) -> None:
    """Print what a rollout would do and cost."""
    print(f"{found['tablets']} tablets can be reached, {found['changed']} would hold something else")
    for each in found["left_out"]:
        print(f"  not counted: {each['tablets']}, {each['reason']}")
    for wave in found["waves"]:
        print(f"  wave {wave['number']} ({wave['name']}): {wave['size']} tablets")
    fetching = sorted((each for each in found["schools"]), key=lambda each: -each["bytes"])
    for each in fetching[:_MOST_SCHOOLS]:
        print(f"  school {each['school']}: {each['tablets']} tablets, {each['bytes'] / 1e6:,.1f} MB")
    if len(fetching) > _MOST_SCHOOLS:
        print(f"  and {len(fetching) - _MOST_SCHOOLS} more schools")
    share = f", {found['pool_share']:.1%} of the month's pool" if found["pool_share"] is not None else ""
    print(f"over LTE: {found['gb']:,.3f} GB{share}")
    if found["busiest"]:
        hours = found["busiest"]["hours"]
        print(f"busiest: school {found['busiest']['school']}" + (f", {hours:.1f} hours" if hours is not None else ""))
    end = f"{found['finishes_at'][:19]}Z" if found["finishes_at"] else "not within 60 days"
    print(f"done at the present limits: {end}" + (f", held up by {found['limited_by']}" if found["limited_by"] else ""))
    for why in found["gate"]:
        print(f"needs a second operator: {why}")


def print_unwatched() -> None:
    """Say that the rollout does not depend on who watches."""
    print("tabane: not watching any more; the rollout goes on", file=sys.stderr)


def _print_stops(found: Mapping[str, Any]) -> None:
    if found["state"] == "held":
        print(
            f"  waits for a second operator until {found['approve_until'][:19]}Z: tabane rollout approve {found['id']}"
        )
        for why in (found["estimate"] or {}).get("gate", []):
            print(f"  {why}")
    if halt := found["halt"]:
        print(f"  stopped by itself: {halt['detail']}")
        for why in halt["reasons"]:
            print(f"    {why['tablets']}, {_tame(why['reason'])}")
    if back := found["restored"]:
        print(
            f"  taken back from {back['asked']}: {back['answered']} heard since, {back['restored']} as they should be"
        )


def _tame(words: str) -> str:
    """A tablet's own words: nothing in them may steer the terminal."""
    return "".join(letter if letter.isprintable() else " " for letter in words)
