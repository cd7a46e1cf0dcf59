"""`tabane rollout`: plan, start, watch and steer rollouts by the API. It decides nothing and counts nothing itself."""

import time
from typing import Annotated, Any

import typer

from mdm.cli import rollout_way as way
from mdm.cli.client import Client, connected, fail, show_json
from mdm.cli.progress import bar
from mdm.cli.rollout_text import headline, numbers, print_estimate, print_rollout, print_unwatched

app = typer.Typer(no_args_is_help=True, help="Bring policies to tablets.")

_BEAT_S = 1.0
_UNDER_WAY = ("pending", "woken")
_STOPPED = ("held", "halted", "aborted", "rolled_back", "expired")
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Timeout = Annotated[float | None, typer.Option(min=0, help="Seconds to watch at most; status 1 if it is not over.")]
_Id = Annotated[str, typer.Argument(help="The rollout's id.")]
_Reason = Annotated[str, typer.Option(help="Why; it is kept with the rollout.")]


@app.command()
def start(
    policy: way.Policy,
    target: way.Target,
    *,
    revision: way.Revision = None,
    exclude: way.Exclude = None,
    waves: way.Kind = None,
    share: way.Share = None,
    rings: way.Rings = True,
    at_once: way.AtOnce = None,
    lists: way.List = None,
    never: way.Never = False,
    window: way.Window = None,
    days: way.Days = None,
    not_before: way.NotBefore = None,
    not_after: way.NotAfter = None,
    spread: way.Spread = None,
    any_hour: way.AnyHour = False,
    failures: way.Failures = None,
    silent: way.Silent = None,
    settled: way.Settled = None,
    soak: way.Soak = None,
    pulse_after: way.PulseAfter = None,
    silent_after: way.SilentAfter = None,
    proof: way.Proof = None,
    on_failures: way.OnFailures = None,
    on_silence: way.OnSilence = None,
    watch_it: Annotated[bool, typer.Option("--watch", help="Stay and watch it.")] = False,
    override: Annotated[list[str] | None, typer.Option(help="A lint that is overridden, by its code.")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, of the rollout and of what is overridden.")] = None,
    as_json: _Json = False,
) -> None:
    """Freeze the target's tablets and bring them the policy wave by wave. Above the gate a second person decides."""
    body = {
        **_asked(policy, target, revision, exclude),
        "waves": way.waves(waves, share=share, rings=rings, at_once=at_once, lists=lists, never=never),
        "schedule": way.schedule(
            window, days=days, not_before=not_before, not_after=not_after, spread=spread, any_hour=any_hour
        ),
        "thresholds": way.thresholds(
            failures=failures,
            silent=silent,
            settled=settled,
            soak=soak,
            pulse_after=pulse_after,
            silent_after=silent_after,
            proof=proof,
            on_failures=on_failures,
            on_silence=on_silence,
        ),
        "overrides": override or [],
        "reason": reason,
    }
    with connected() as api:
        found = api.post("/api/v1/rollouts", body)
        if watch_it:
            found = _watch(api, found["id"], timeout=None)
    _show(found, as_json=as_json)


@app.command()
def plan(
    policy: way.Policy,
    target: way.Target,
    *,
    revision: way.Revision = None,
    exclude: way.Exclude = None,
    waves: way.Kind = None,
    share: way.Share = None,
    rings: way.Rings = True,
    at_once: way.AtOnce = None,
    lists: way.List = None,
    never: way.Never = False,
    window: way.Window = None,
    days: way.Days = None,
    not_before: way.NotBefore = None,
    not_after: way.NotAfter = None,
    spread: way.Spread = None,
    any_hour: way.AnyHour = False,
    as_json: _Json = False,
) -> None:
    """Say whom a rollout would reach, in which waves, what it would cost and when it would end. Nothing is started."""
    body = {
        **_asked(policy, target, revision, exclude),
        "waves": way.waves(waves, share=share, rings=rings, at_once=at_once, lists=lists, never=never),
        "schedule": way.schedule(
            window, days=days, not_before=not_before, not_after=not_after, spread=spread, any_hour=any_hour
        ),
    }
    with connected() as api:
        found = api.post("/api/v1/rollouts/estimate", body)
    if as_json:
        show_json(found)
    else:
        print_estimate(found)


@app.command()
def show(rollout: _Id, *, as_json: _Json = False) -> None:
    """Show a rollout with its waves and numbers."""
    with connected() as api:
        found = api.get(f"/api/v1/rollouts/{rollout}")
    _show(found, as_json=as_json)


@app.command()
def watch(
    rollout: Annotated[str | None, typer.Argument(help="A rollout's id; the newest when absent.")] = None,
    *,
    timeout: _Timeout = None,
    as_json: _Json = False,
) -> None:
    """Watch a rollout until no tablet is under way: a progress bar on a terminal, the final numbers anywhere.

    Status 1 if it is not through, or was stopped.
    """
    with connected() as api:
        found = _watch(api, rollout or _newest(api), timeout=timeout)
    _show(found, as_json=as_json)
    if _left(found) or found["state"] in _STOPPED:
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
        print(f"{row['id']}  {row['started_at'][:19]}Z  {headline(row)}  {numbers(row['counts'])}")


@app.command()
def pause(rollout: _Id, *, reason: _Reason, as_json: _Json = False) -> None:
    """Open no further wave and take back wake-ups that were not sent."""
    _act(rollout, "pause", as_json=as_json, reason=reason)


@app.command()
def resume(rollout: _Id, *, reason: _Reason, as_json: _Json = False) -> None:
    """Go on where it was paused."""
    _act(rollout, "resume", as_json=as_json, reason=reason)


@app.command()
def abort(rollout: _Id, *, reason: _Reason, as_json: _Json = False) -> None:
    """Stop for good: tablets that have not installed it fall back. Declines one that is held."""
    _act(rollout, "abort", as_json=as_json, reason=reason)


@app.command("rollback")
def roll_back(rollout: _Id, *, reason: _Reason, as_json: _Json = False) -> None:
    """Take the revision away from all its tablets, also long after the end."""
    _act(rollout, "roll-back", as_json=as_json, reason=reason)


@app.command()
def release(rollout: _Id, wave: Annotated[int, typer.Argument(min=1)], *, as_json: _Json = False) -> None:
    """Open a wave by hand, before its time or because its rollout waits for hands."""
    _act(rollout, f"waves/{wave}/release", as_json=as_json)


@app.command()
def approve(rollout: _Id, *, as_json: _Json = False) -> None:
    """Let somebody else's held rollout run."""
    _act(rollout, "approve", as_json=as_json)


@app.command()
def finish(rollout: _Id, *, as_json: _Json = False) -> None:
    """End a rollout by hand. Tablets that have not answered still get the policy when they wake."""
    _act(rollout, "finish", as_json=as_json)


def _asked(policy: str, target: str, revision: int | None, exclude: list[str] | None) -> dict[str, Any]:
    return {"policy": policy, "target": target, "revision": revision, "exclude": exclude or []}


def _act(rollout: str, verb: str, *, as_json: bool, **body: str) -> None:
    with connected() as api:
        found = api.post(f"/api/v1/rollouts/{rollout}/{verb}", body or None)
    _show(found, as_json=as_json)


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(found)
    else:
        print_rollout(found)


def _newest(api: Client) -> str:
    rows = api.get("/api/v1/rollouts", limit=1)["items"]
    if not rows:
        fail("there is no rollout yet")
    return str(rows[0]["id"])


def _watch(api: Client, rollout: str, *, timeout: float | None) -> dict[str, Any]:
    """Ask once a second until no tablet is under way, the rollout is over or stopped, or the time is."""
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
        print_unwatched()
        return found


def _left(found: dict[str, Any]) -> int:
    """How many tablets are under way; none once the rollout is over or has stopped."""
    if found["ended_at"] or found["state"] in _STOPPED:
        return 0
    return sum(found["counts"][stage] for stage in _UNDER_WAY)
