"""What the tests of the fault matrix share: where an attacker stands, and a client whose answers are checked."""

import random

import omap
from host.client.paced import PacedClient
from host.client.settings import Settings
from omap.operations import Kind, Operation
from omap.presets import preset
from tests.support.host.keys import client_of
from tests.support.oracle import expected

PARAMS = preset("TINY")


def batch(seed, count=8):
    rng = random.Random(seed)
    kinds = [Kind.GET, Kind.PUT, Kind.PUT, Kind.DELETE, Kind.NOP]
    return [
        Operation(rng.choice(kinds), rng.randrange(8).to_bytes(4, "big"), rng.randbytes(4)) for number in range(count)
    ]


class Place:
    """Somewhere to stand: where hooks go, what clients connect to, and the device behind."""

    def __init__(self, hooks, device, key):
        self.hooks, self.device, self.key = hooks, device, key

    def connect(self, client="sync", **options):
        options = {"client": client_of(self.key), "timeout": 0.5} | options
        if client == "asyncio":
            return PacedClient(
                Settings.from_url(self.hooks.url, **options)
            )  # without a rate it is an asyncio client in a thread
        return omap.connect(self.hooks.url, **options)


def use(client, oracle, batches=2, each=1):
    """Run batches of eight records, whose answers must be right. Return the error that ended it, with its answers.

    ``each`` is how many operations the client puts into a record.
    """
    error = None
    for seed in range(batches):
        operations = batch(seed, 8 * each)
        wanted = [expected(oracle, PARAMS.capacity, operation) for operation in operations]
        try:
            answers = client.execute(operations)
        except omap.OmapError as caught:
            error = caught
            break
        assert answers == wanted
    if error is not None:
        assert list(error.responses) == wanted[: error.answered]
        assert error.answered + error.in_doubt + error.not_sent == len(operations)
    return error
