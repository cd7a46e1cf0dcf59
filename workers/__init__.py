"""When: the Celery tasks that send, sweep and expire."""
