"""Structured logs: one event name per line, an allow-list of keys, never a secret or a pupil's name."""

import logging
import sys
from typing import Any

import structlog

_ALLOWED = frozenset(
    [
        "event",
        "level",
        "timestamp",
        "logger",
        "request_id",
        "job",
        "lane",
        "action",
        "actor",
        "role",
        "status",
        "method",
        "path",
        "duration_ms",
        "count",
        "counts",
        "device_id",
        "command_id",
        "rollout_id",
        "campaign_id",
        "ticket_id",
        "approval_id",
        "operator_id",
        "school_id",
        "epoch",
        "kind",
        "state",
        "reason",
        "error",
        "attempt",
        "outcome",
        "queue",
        "worker",
        "process",
        "pid",
        "port",
        "address",
        "version",
        "revision",
        "stack",
        "exception",
        "seed",
        "detail",
    ]
)
"""Everything else is dropped: a new key is silent, not leaked."""


def _allow_listed(_logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {key: value for key, value in event.items() if key in _ALLOWED}


def configure(*, as_json: bool) -> None:
    """Set up structlog for this process: JSON lines for machines, aligned text for people; always to standard error."""
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _allow_listed,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
