"""Lets go what is approved: by the sender where there is one; without it an approval lets go at once."""

import importlib
import importlib.util


def let_go() -> None:
    """Let what is approved leave."""
    if importlib.util.find_spec("workers.sender") is not None:
        importlib.import_module("workers.sender").look()
