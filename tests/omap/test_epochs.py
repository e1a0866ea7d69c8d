"""What lies in host memory opens under the operation's index and the key of its epoch, and under nothing else."""

from dataclasses import astuple, replace

import pytest
from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC

from omap.crypto import PageCodec
from omap.errors import ExhaustedError, FaultError
from omap.hazmat.fixed import fixed_secrets
from omap.hazmat.inspect import contents
from omap.map import create
from omap.operations import Kind, Operation
from omap.params import Rule
from omap.presets import preset
from omap.trace import Observer
from tests.support.omap_maps import compiled

TINY = preset("TINY")
PAGES = 4


def shape(rule=Rule.ONE_CHOICE, **more):
    sizes = {"pages": PAGES, "waiting_slots": 12, "further_lines": 12}
    return replace(TINY, rule=rule, hbm_bins=1 if rule is Rule.TWO_CHOICE else 0, **sizes, **more)


def key_of(secret, map_id, epoch):
    """Return a page key, from CMAC alone."""
    key = b""
    for block in (1, 2):
        mac = CMAC(algorithms.AES256(secret))
        mac.update(
            block.to_bytes(4, "big") + b"omap page 2\0" + map_id + epoch.to_bytes(8, "big") + bytes([0, 0, 1, 0])
        )
        key += mac.finalize()
    return key


class Watched:
    """A map, and for each page the version that it must have."""

    def __init__(self, params, epoch_bits=16, seed=1):
        self.observer, self.epoch_bits = Observer(), epoch_bits
        self.map = create(params, observer=self.observer, secrets=fixed_secrets(seed))
        self.secret, _, _, self.map_id = astuple(fixed_secrets(seed)())
        self.versions = [0] * params.pages
        self.operations = 0
        self.observer.clear()

    def run(self, batch):
        """Run a batch, and note which operation touched which page last."""
        self.map.execute(batch)
        trace = self.observer.trace()
        for operation, address, write in zip(trace.operation, trace.address, trace.write, strict=True):
            if write:
                self.versions[int(address) // self.map.params.page_bytes] = self.operations + int(operation) + 1
        self.operations += len(batch)
        self.observer.clear()

    def check(self):
        """Open every page under its version with primitives alone."""
        size = self.map.params.page_bytes
        for page, version in enumerate(self.versions):
            cipher = AESGCM(key_of(self.secret, self.map_id, version >> self.epoch_bits))
            sealed = bytes(self.map.host.data[page * size : (page + 1) * size])
            cipher.decrypt(page.to_bytes(4, "big") + version.to_bytes(8, "big"), sealed, self.map_id)


def test_nonces_are_the_indices_of_operations():
    watched = Watched(shape())
    watched.check()  # a format seals under version 0
    for count in (1, 2, 3, 40):
        watched.run([Operation(Kind.NOP)] * count)
        watched.check()
    assert max(watched.versions) == 46


@pytest.mark.sec_cm("PAGE.KEY.EPOCH")
@pytest.mark.parametrize("rule", [Rule.ONE_CHOICE, Rule.TWO_CHOICE])
def test_keys_change_at_the_end_of_an_epoch(rule):
    watched = Watched(shape(rule, epoch_bits=6), epoch_bits=6)
    for count in (62, 1, 1, 1, 200):  # 63 operations end the first epoch
        watched.run([Operation(Kind.PUT, bytes([0, 0, 0, n % 12]), bytes(4)) for n in range(count)])
        watched.check()
    assert len(contents(watched.map)) == 12


@pytest.mark.parametrize("count", [0, 1, 12])
def test_a_bulk_load_counts_as_its_operations_and_seals_under_the_last(count):
    watched = Watched(shape())
    watched.run([Operation(Kind.NOP)] * 5)
    watched.map.bulk_load([bytes([0, 0, 0, n]) for n in range(count)], [bytes(4)] * count)
    watched.operations += max(count, 1)
    watched.versions = [watched.operations] * PAGES
    watched.check()
    watched.observer.clear()
    watched.run([Operation(Kind.NOP)] * 9)
    watched.check()
    assert len(contents(watched.map)) == count


def test_a_bulk_load_over_the_ends_of_epochs_opens_what_was_sealed_before():
    watched = Watched(shape(epoch_bits=2), epoch_bits=2)
    watched.map.bulk_load([bytes([0, 0, 0, n]) for n in range(12)], [bytes(4)] * 12)
    watched.versions = [12] * PAGES
    watched.check()
    assert len(contents(watched.map)) == 12


def test_pages_of_three_epochs_are_opened_and_sealed_in_any_order():
    """A bulk load opens pages of the epoch before it and of its first, and seals them in its last."""
    secrets = fixed_secrets(1)()
    codec = PageCodec(secrets.page_secret, secrets.map_id, 2)
    sealed = {version: codec.seal(0, version, bytes(48)) for version in (4, 8, 12)}
    for version in (4, 12, 8, 4, 8, 12):
        assert codec.open(0, version, sealed[version], present=version) == bytes(48)


@pytest.mark.parametrize("make", [create, compiled], ids=["reference", "compiled"])
def test_a_page_that_no_operation_of_an_epoch_touched_is_a_fault_like_slots_that_run_out(make):
    map_ = make(shape(epoch_bits=1), secrets=fixed_secrets(1))
    with pytest.raises(ExhaustedError, match=r"was not touched for a whole epoch.*format the map"):
        map_.execute([Operation(Kind.NOP)] * 100)
    with pytest.raises(FaultError, match=r"erased its keys: page \d was not touched for a whole epoch"):
        map_.execute([Operation(Kind.NOP)])
    map_.format()
    assert map_.execute([Operation(Kind.NOP)])
