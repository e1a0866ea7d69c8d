"""Engines beside their model that have been in use, for tests that strike them; and where things are in host memory."""

from sim.device.engine_run import BUFFER_ADDRESS
from tests.support.rtl.engine_bench import Twin

RING = 128
MANY = 32
"""Operations in which all pages of a tight map are touched several times."""


def used(seed, **options):
    """Return a twin with two sessions whose pages have all been written several times, at rest."""
    twin = Twin(seed, ring_lines=RING, **options)
    clients = [twin.opened(), twin.opened()]
    twin.send(clients, MANY)
    twin.rest()
    return twin, clients


def pages(twin):
    """Return the bus addresses of the pages, as a fault has them."""
    return {"low": BUFFER_ADDRESS + twin.layout.pages, "high": BUFFER_ADDRESS + twin.layout.size}


def commands(twin):
    """Return the bus addresses of the command ring."""
    return {"low": BUFFER_ADDRESS + twin.layout.commands, "high": BUFFER_ADDRESS + twin.layout.responses}
