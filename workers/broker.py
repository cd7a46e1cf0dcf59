"""How a worker holds on to its broker: it comes back soon, and does not fall over a lost line. Knows no job.

https://docs.celeryq.dev/en/stable/userguide/extending.html#worker-bootsteps (the consumer)
"""

from functools import partial
from typing import Any, Final

from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.transport.redis import Channel

CONSUMER: Final = "workers.broker:Consumer"
_FIRST_S: Final = 0.5
_STEP_S: Final = 0.5
_LONGEST_S: Final = 2.0

# A hint that was taken and not begun is dropped with its line. To put it back needs the very line that broke: kombu 5.7
# then ends the whole worker with an AttributeError, out of the middle of its reconnecting.
Channel.do_restore = False


class Consumer(CeleryConsumer):  # type: ignore[misc]  # Celery ships no types
    """Celery's own, but for the patience between attempts: Celery waits up to 30 s after the broker is back."""

    def ensure_connected(self, conn: Any) -> Any:
        """Return the connection once the broker answers."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=_FIRST_S, interval_step=_STEP_S, interval_max=_LONGEST_S
        )
        return super().ensure_connected(conn)
