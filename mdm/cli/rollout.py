"""`tabane rollout`: start, watch and list rollouts by the API. It decides nothing and counts nothing itself."""

import sys
import time
from typing import Annotated, Any

import typer

from mdm.cli.client import Client, connected, fail, show_json
from mdm.cli.progress import bar

app = typer.Typer(no_args_is_help=True, help="Bring policies to tablets.")

_BEAT_S = 1.0
_UNDER_WAY = ("pending", "woken")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Timeout = Annotated[float | None, typer.Option(min=0, help="Seconds to watch at most; status 1 if it is not over.")]


@app.command()
def start(
    policy: Annotated[str, typer.Option(help="The policy to roll out.")],
    target: Annotated[str, typer.Option(help="fleet, school=CODE, class=CODE/6/1 or serial=S.")],
    *,
    revision: Annotated[int | None, typer.Option(min=1, help="The latest when absent.")] = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Stay and watch it.")] = False,
    override: Annotated[list[str] | None, typer.Option(help="A lint that is overridden, by its code.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why it is overridden; goes on record.")] = None,
    as_json: _Json = False,
) -> None:
    """Set what the target's tablets should hold and make them due a wake-up, in one wave."""
    with connected() as api:
        body = {
            "policy": policy,
            "target": target,
            "revision": revision,
            "overrides": override or [],
            "reason": reason,
        }
        found = api.post("/api/v1/rollouts", body)
        if watch_it:
            found = _watch(api, found["id"], timeout=None)
    if as_json:
        show_json(found)
    else:
        _print(found)


@app.command()
def watch(
    rollout: Annotated[str | None, typer.Argument(help="A rollout's id; the newest when absent.")] = None,
    *,
    timeout: _Timeout = None,
    as_json: _Json = False,
) -> None:
    """Watch a rollout until no tablet is under way: a progress bar on a terminal, the final numbers anywhere."""
    with connected() as api:
        found = _watch(api, rollout or _newest(api), timeout=timeout)
    if as_json:
        show_json(found)
    else:
        _print(found)
    if _left(found):
        raise typer.Exit(1)


@app.command("list")
def list_(*, limit: Annotated[int, typer.Option(min=1, max=500)] = 20, as_json: _Json = False) -> None:
    """List the newest rollouts with their numbers."""
    with connected() as api:
        rows = api.get("/api/v1/rollouts", limit=limit)["items"]
    if as_json:
        show_json(rows)
        return
    for row in rows:
        print(f"{row['id']}  {row['started_at'][:19]}Z  {_headline(row)}  {_numbers(row)}")


@app.command()
def finish(rollout: Annotated[str, typer.Argument(help="The rollout's id.")], *, as_json: _Json = False) -> None:
    """End a rollout by hand. Tablets that have not answered still get the policy when they wake."""
    with connected() as api:
        found = api.post(f"/api/v1/rollouts/{rollout}/finish")
    if as_json:
        show_json(found)
    else:
        _print(found)


def _newest(api: Client) -> str:
    rows = api.get("/api/v1/rollouts", limit=1)["items"]
    if not rows:
        fail("there is no rollout yet")
    return str(rows[0]["id"])


def _watch(api: Client, rollout: str, *, timeout: float | None) -> dict[str, Any]:
    """Ask once a second until no tablet is under way, the rollout is over, or the time is."""
    deadline = None if timeout is None else time.monotonic() + timeout
    found: dict[str, Any] = api.get(f"/api/v1/rollouts/{rollout}")
    counts = found["counts"]
    try:
        with bar(found["policy"], sum(counts.values()) - counts["excluded"]) as advance:
            while True:
                advance(sum(found["counts"].values()) - found["counts"]["excluded"] - _left(found))
                if not _left(found) or (deadline is not None and time.monotonic() >= deadline):
                    return found
                time.sleep(_BEAT_S)
                found = api.get(f"/api/v1/rollouts/{rollout}")
    except KeyboardInterrupt:
        print("tabane: not watching any more; the rollout goes on", file=sys.stderr)
        return found


def _left(found: dict[str, Any]) -> int:
    """How many tablets are under way; none once the rollout is over."""
    return 0 if found["ended_at"] else sum(found["counts"][stage] for stage in _UNDER_WAY)


def _headline(found: dict[str, Any]) -> str:
    return f"{found['policy']} revision {found['revision']} to {found['target']}: {found['state']}"


def _numbers(found: dict[str, Any]) -> str:
    return ", ".join(f"{number} {stage}" for stage, number in found["counts"].items() if number) or "no tablets"


def _print(found: dict[str, Any]) -> None:
    print(f"{found['id']}  {_headline(found)}")
    print(f"  {_numbers(found)}")
    if proved := ", ".join(f"{number} {status}" for status, number in found["proofs"].items() if number):
        print(f"  by their own word: {proved}")
    for why in found["reasons"]:
        # A tablet's own words: nothing in them may steer the terminal.
        reason = "".join(letter if letter.isprintable() else " " for letter in why["reason"])
        print(f"  {why['stage']}: {why['tablets']}, {reason}")
    for gap in found["cannot"]:
        print(f"  {gap['tablets']} tablets cannot do {gap['pointer']}: {gap['reason']}")
    if found["expected_end"]:
        print(f"  expected end at this rate: {found['expected_end'][:19]}Z")
