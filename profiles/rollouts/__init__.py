"""Rollouts: one policy revision to one target in waves, and how far it has come."""

from profiles.rollouts.acts import abort, approve, finish, pause, release_wave, resume, roll_back
from profiles.rollouts.advance import Step, advance, look, under_way
from profiles.rollouts.estimates import Estimate
from profiles.rollouts.prepare import Options
from profiles.rollouts.shown import ShownRollout, overview, show
from profiles.rollouts.start import estimate, start

__all__ = [
    "Estimate",
    "Options",
    "ShownRollout",
    "Step",
    "abort",
    "advance",
    "approve",
    "estimate",
    "finish",
    "look",
    "overview",
    "pause",
    "release_wave",
    "resume",
    "roll_back",
    "show",
    "start",
    "under_way",
]
