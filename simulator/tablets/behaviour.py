"""How a pretended tablet misbehaves: probabilities and times, changeable while it runs."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """Probabilities are per occasion, from 0 to 1; times are in seconds. The default is a tablet in perfect order."""

    not_now: float = 0
    """A command that may wait is answered NotNow."""
    error: float = 0
    """A command fails (never a wipe or a lost-mode command: those are told to succeed or not by the device's state)."""
    lost_reply: float = 0
    """The line drops after a message was sent: its answer is never read, and the same message is sent again."""
    duplicate: float = 0
    """A message is sent twice, both answered; the tablet acts on the second answer only."""
    offline: float = 0
    """After a conversation the tablet is out of reach for a while; the push service keeps one push for it."""
    offline_s: float = 5
    latency_s: float = 0
    """Upper bound of the time between a push and the tablet's first message; the actual time is even in between."""
    clock_skew_s: float = 0
    """How far ahead the tablet's clock is; it shows in the signing time of its signatures."""
    returns_after_s: float | None = 20
    """When a tablet that said NotNow comes back by itself, as one does when it is unlocked; None: only when pushed."""
    silent_after_install: float = 0
    """After it acknowledged an InstallProfile the tablet is never heard again, as after a bad APN or proxy."""
    silent_marker: str = ""
    """Only profiles that hold this text (a payload type, say) silence a tablet; empty: any profile."""
    acknowledges_before_renewal: bool = False
    """A new enrolment profile is acknowledged with the old identity, before the new one is fetched."""
