"""How a rollout goes out, as options of the command line: one set for planning and for starting. It checks nothing."""

from datetime import datetime
from typing import Annotated, Any

import typer

Policy = Annotated[str, typer.Option(help="The policy to roll out.")]
Target = Annotated[str, typer.Option(help="fleet, school=CODE, class=CODE/6/1 or serial=S.")]
Revision = Annotated[int | None, typer.Option(min=1, help="The latest when absent.")]
Exclude = Annotated[
    list[str] | None, typer.Option(help="school=, class= or serial=: left out, it keeps what it has. May be repeated.")
]
Kind = Annotated[str | None, typer.Option("--waves", help="at_once, staged, by_school or by_hand; else by its size.")]
Share = Annotated[list[float] | None, typer.Option(help="staged: percent of a wave before the rest. May be repeated.")]
Rings = Annotated[bool, typer.Option(help="staged: the named rings go first.")]
AtOnce = Annotated[int | None, typer.Option("--schools-at-once", min=1, help="by_school: schools in one wave.")]
List = Annotated[
    list[str] | None, typer.Option("--list", help="by_hand: the places of a wave, with commas. May be repeated.")
]
Never = Annotated[bool, typer.Option("--rest-never", help="by_hand: tablets in no list are never told.")]
Window = Annotated[list[str] | None, typer.Option(help="Local time as HH:MM-HH:MM. May be repeated; any when absent.")]
Days = Annotated[str | None, typer.Option(help="any, school_days or days_off.")]
NotBefore = Annotated[str | None, typer.Option(help="A moment such as 2026-04-06T18:00+09:00.")]
NotAfter = Annotated[str | None, typer.Option(help="A moment; who was not woken by then waits until it asks.")]
Spread = Annotated[int | None, typer.Option(min=0, help="Seconds of open time over which tablets are spread.")]
AnyHour = Annotated[bool, typer.Option("--any-hour", help="Also in class hours and on the minutes :00, :15, :30, :45.")]
Failures = Annotated[float | None, typer.Option(min=0, max=100, help="Percent of failed that stop it (2).")]
Silent = Annotated[float | None, typer.Option(min=0, max=100, help="Percent of silent that stop it (1).")]
Soak = Annotated[int | None, typer.Option(min=0, help="Seconds that a wave soaks before the next opens.")]
Settled = Annotated[float | None, typer.Option(min=0, max=100, help="Percent settled that open the next wave (90).")]
PulseAfter = Annotated[int | None, typer.Option(min=0, help="Seconds after installing that a tablet is woken (600).")]
SilentAfter = Annotated[int | None, typer.Option(min=0, help="Seconds after installing that unheard is silent (1800).")]
Proof = Annotated[bool | None, typer.Option(help="Ask tablets to show that they live; else by its size.")]
OnFailures = Annotated[str | None, typer.Option(help="hold or roll_back.")]
OnSilence = Annotated[str | None, typer.Option(help="hold or roll_back.")]


def waves(
    kind: str | None,
    *,
    share: list[float] | None,
    rings: bool,
    at_once: int | None,
    lists: list[str] | None,
    never: bool,
) -> dict[str, Any] | None:
    """The waves of a request, as far as they were given."""
    told: dict[str, Any] = {
        "shares": share,
        "rings": None if rings else False,
        "schools_at_once": at_once,
        "lists": [[place.strip() for place in each.split(",")] for each in lists] if lists else None,
        "rest": "never" if never else None,
    }
    given = {name: value for name, value in told.items() if value is not None}
    implied = "by_hand" if lists else "by_school" if at_once else "staged" if given else None
    return {"kind": kind or implied, **given} if kind or given else None


def schedule(
    window: list[str] | None,
    *,
    days: str | None,
    not_before: str | None,
    not_after: str | None,
    spread: int | None,
    any_hour: bool,
) -> dict[str, Any] | None:
    """The schedule of a request, as far as it was given."""
    told: dict[str, Any] = {
        "windows": window,
        "days": days,
        "not_before": _moment(not_before),
        "not_after": _moment(not_after),
        "spread_s": spread,
    }
    if any_hour:
        told |= {"obey_class_hours": False, "avoid_marks": False}
    return {name: value for name, value in told.items() if value is not None} or None


def thresholds(
    *,
    failures: float | None,
    silent: float | None,
    settled: float | None,
    soak: int | None,
    pulse_after: int | None,
    silent_after: int | None,
    proof: bool | None,
    on_failures: str | None,
    on_silence: str | None,
) -> dict[str, Any] | None:
    """The thresholds of a request, as far as they were given; percent become shares."""
    told: dict[str, Any] = {
        "failures": None if failures is None else failures / 100,
        "silent": None if silent is None else silent / 100,
        "settle_share": None if settled is None else settled / 100,
        "soak_s": soak,
        "pulse_after_s": pulse_after,
        "silent_after_s": silent_after,
        "proof": proof,
        "on_failures": on_failures,
        "on_silence": on_silence,
    }
    return {name: value for name, value in told.items() if value is not None} or None


def _moment(text: str | None) -> str | None:
    """A moment without an offset is meant as this machine's local time."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"`{text}` is no moment such as 2026-04-06T18:00+09:00") from None
    return moment.astimezone().isoformat()
