"""Celery: the broker's keys under one hash tag. Tasks of three priorities, a delayed one and a chord are done; the worker answers a ping."""

import sys

from celery import Celery, chord
from celery.contrib.testing.worker import start_worker

url = f"redis://127.0.0.1:{sys.argv[1]}/0"
app = Celery("app", broker=url, backend=url)
app.conf.broker_transport_options = {"global_keyprefix": "{celery}:", "priority_steps": [0, 5, 9]}
app.conf.worker_hijack_root_logger = False


@app.task
def add(a, b):
    return a + b


@app.task
def total(numbers):
    return sum(numbers)


with start_worker(app, pool="solo", perform_ping_check=False, shutdown_timeout=30):
    for priority in (0, 5, 9):
        assert add.apply_async((2, priority), priority=priority).get(timeout=30) == 2 + priority
    assert add.apply_async((1, 1), countdown=0.05).get(timeout=30) == 2
    assert chord([add.s(i, i) for i in range(5)])(total.s()).get(timeout=30) == 20
    assert [list(answer.values()) for answer in app.control.ping(timeout=1)] == [[{"ok": "pong"}]]
