"""Rollouts: one policy revision to one target, and how far it has come."""

from profiles.rollouts.advance import advance, finish
from profiles.rollouts.shown import ShownRollout, overview, show
from profiles.rollouts.start import start

__all__ = ["ShownRollout", "advance", "finish", "overview", "show", "start"]
