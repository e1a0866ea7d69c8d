# amaranth: UnusedElaboratable=no
"""What was made is found again, is never half there, and goes when it is old and there is too much."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sim import cache, design_key
from sim.bench.verilog import simulation_verilog
from sim.errors import ToolError


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("OMAP_BUILD", str(tmp_path))
    return tmp_path / "sim"


def test_entries_are_made_once_and_never_half(folder):
    made = []

    def make(path):
        made.append(path)
        (path / "part").write_text("1")

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: cache.cached("thing", make), range(8))) == {folder / "thing"}
    assert len(made) == 1

    def fail(path):
        (path / "part").write_text("1")
        raise ToolError("refused")

    with pytest.raises(ToolError):
        cache.cached("other", fail)
    assert sorted(os.listdir(folder)) == ["other.lock", "pruned", "thing", "thing.lock"]


def test_the_digest_depends_on_every_part():
    digests = {cache.digest("ab", "c"), cache.digest("a", "bc"), cache.digest("ab"), cache.digest(["ab", "c"])}
    assert len(digests) == 4
    assert cache.digest("ab", "c") in digests


def test_what_was_used_longest_ago_goes_first(folder):
    for age, name in enumerate(("new", "middle", "old", "oldest")):
        cache.cached(name, lambda path: (path / "part").write_bytes(bytes(1000)))
        os.utime(folder / name, times=(time.time() - 10_000 * age,) * 2)
    assert cache.prune(largest_bytes=4000, youngest_seconds=100) == []
    assert cache.prune(largest_bytes=2999, youngest_seconds=100) == ["oldest", "old"]
    cache.cached("middle", lambda path: pytest.fail("it was there"))  # used now
    os.utime(folder / "new", times=(time.time() - 500,) * 2)
    assert cache.prune(largest_bytes=1000, youngest_seconds=1000) == []
    assert cache.prune(largest_bytes=1000, youngest_seconds=100) == ["new"]
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {"middle"}


class Copy(wiring.Component):
    """Copies its input."""

    def __init__(self, width, *, note=None):
        self.width, self.note = width, note
        super().__init__({"i": In(width), "o": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.o.eq(self.i)
        return m


def kept(*args, **parameters):
    return cache.kept_text(Copy(*args, **parameters), simulation_verilog)


def test_a_text_is_kept_until_something_changes(folder, monkeypatch):
    first = kept(3)
    assert first == simulation_verilog(Copy(3))
    (entry,) = folder.glob("text-*/text")
    entry.write_text("as it was kept")
    assert kept(3) == "as it was kept"
    assert kept(4) == simulation_verilog(Copy(4)) != first
    monkeypatch.setattr(design_key, "_versions", lambda: [("amaranth", "another")])
    assert kept(3) == first


def test_a_text_that_may_be_anothers_is_not_kept(folder):
    assert kept(3, note=iter([1])) == simulation_verilog(Copy(3))
    assert not folder.exists()
