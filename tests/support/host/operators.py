"""What an operator does: asks the monitor of a relay."""

import urllib.error
import urllib.request
from contextlib import contextmanager

from host.relay.monitor import Monitor


@contextmanager
def monitored(relay):
    """Run a monitor of a running relay."""
    monitor = Monitor(relay.relay, 0)
    relay.run(monitor.start())
    try:
        yield monitor
    finally:
        relay.run(monitor.stop())


def fetch(monitor, path):
    """Return status and text of a page."""
    try:
        with urllib.request.urlopen(f"{monitor.address}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
