"""What every Celery app of ours has in common: how it speaks with the broker, and how its jobs log. Holds no task."""

from collections.abc import Sequence
from typing import Any

import structlog
from celery import Task
from celery.signals import setup_logging

from mdm.settings import get_settings
from workers import broker


class LoggedTask(Task):  # type: ignore[misc]  # Celery ships no types
    """Gives every line that a job logs the job's name."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the job."""
        with structlog.contextvars.bound_contextvars(job=self.name):
            return super().__call__(*args, **kwargs)


def base(queues: Sequence[str]) -> dict[str, Any]:
    """Return the settings of an app that works on these queues (operations.md §1.3 gives a reason for each)."""
    return {
        "broker_url": get_settings().redis_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_pool_acquire_timeout": 5,
        "broker_transport_options": {
            # A hint is gone once it is taken. What would be written and cleared for each, to bring it back when its
            # worker dies, buys nothing here, and an acknowledgement over a new line ends the worker (kombu 5.7).
            "ack_emulation": False,
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "socket_keepalive": True,
            "health_check_interval": 10,
            "global_keyprefix": "tabane:",  # the same as the publisher's in mdm.jobs
        },
        "task_queues": {name: {"exchange": name, "routing_key": name} for name in queues},
        "task_create_missing_queues": False,
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "worker_prefetch_multiplier": 1,
        "worker_consumer": broker.CONSUMER,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "enable_utc": True,
    }


@setup_logging.connect  # type: ignore[untyped-decorator]
def _leave_logging_alone(**_: Any) -> None:
    """Logging is the caller's: a connected receiver is what keeps Celery from setting up its own."""
