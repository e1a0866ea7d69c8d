"""The figures of the memory models: what sim.models.timing states is what a master finds."""

import pytest

from omap.errors import ParamsError
from sim.models.axi_memory import AxiMemory, Bus, Master
from sim.models.host_memory import HostScheduler
from sim.models.memory import Memory
from sim.models.observer import EventKind, Observer
from sim.models.scheduler import Address, Burst
from sim.models.timing import FS_PER_NS, HbmTiming, HostTiming, own_end

QUIET = HbmTiming(refresh_every_ns=0)


def play(timing, reads, *, size=4 << 20, beat_bytes=32, cycles=None, seed=0):
    """Offer (address, beats, id) reads one after the other; return the events of acceptance and those of answers."""
    observer = Observer()
    model = AxiMemory(
        "m",
        Bus(beat_bytes, 4),
        Memory(size),
        timing,
        seed=seed,
        observer=observer,
    )
    waiting = [Address(id, address, beats - 1, (beat_bytes - 1).bit_length(), 1) for address, beats, id in reads]
    size_code = waiting[0].size
    assert 1 << size_code == beat_bytes
    done = 0
    while done < len(reads) if cycles is None else model.cycle < cycles:
        assert model.cycle < 200_000
        last = model.drive.rlast
        accepted = waiting and model.drive.arready
        model.step(Master(ar=waiting[0] if waiting else None, rready=1))
        if accepted:
            waiting.pop(0)
        done += last
        assert not model.breaches
    events = observer.events()
    return [events[events["kind"] == kind] for kind in (EventKind.READ, EventKind.READ_DATA)]


@pytest.mark.parametrize(
    ("addresses", "nanoseconds"),
    [([0], 122.0), ([0, 64], 107.0), ([0, 16 * 1024], 138.0)],
    ids=["closed", "hit", "conflict"],
)
def test_idle_latency_of_hbm(addresses, nanoseconds):
    wait = HbmTiming(refresh_every_ns=0, reads=1)  # one at a time: each is idle when the next arrives
    asked, answered = play(wait, [(address, 1, 0) for address in addresses])
    assert answered["cycle"][-1] - asked["cycle"][-1] == -(-nanoseconds // 4)


def test_latency_follows_the_clock():
    asked, answered = play(HbmTiming(refresh_every_ns=0, clock_mhz=450.0), [(0, 1, 0)])
    assert answered["cycle"][0] - asked["cycle"][0] == 55  # cycles at 450 MHz, as Shuhai counted


def test_random_reads_keep_their_spacing():
    count = 400
    reads = [(row * 1024, 2, row % 64) for row in range(count)]  # another row each, banks in turn
    _, answered = play(QUIET, reads)
    nanoseconds = 4.0 * (answered["cycle"].max() - answered["cycle"].min())
    assert nanoseconds == pytest.approx(13.5 * (count - 1), rel=0.02)


def test_reads_of_an_open_row_run_at_the_rate_of_the_port():
    reads = [(64 * (n % 16), 2, n % 64) for n in range(400)]
    _, answered = play(QUIET, reads)
    assert answered["cycle"].max() - answered["cycle"].min() < 2 * 400 + 40  # two beats each, the channel is faster


def test_one_id_over_many_channels_is_serialised():
    timing = HbmTiming(refresh_every_ns=0, channel_bytes=1 << 20)
    strided = [((n % 4 << 20) + n // 4 * 1024, 2, 0) for n in range(200)]
    _, answered = play(timing, strided)
    seconds = 4e-9 * (answered["cycle"].max() - answered["cycle"].min())
    assert 64 * 199 / seconds == pytest.approx(0.55e9, rel=0.15)  # Vitis-Tutorials measured 0.55 GB/s
    _, answered = play(timing, [(a, beats, n % 4) for n, (a, beats, _) in enumerate(strided)])
    assert 4e-9 * (answered["cycle"].max() - answered["cycle"].min()) < seconds / 3


def test_refresh_takes_its_share_and_closes_rows():
    timing = HbmTiming(refresh_every_ns=2000.0, refresh_ns=500.0, reads=1)
    asked, answered = play(timing, [(0, 1, 0)] * 300)
    latency = 4 * (answered["cycle"] - asked["cycle"])
    assert latency.max() > 500  # arrived when a refresh began
    closed = latency[latency == 124]
    hits = latency[latency == 108]
    assert len(hits) > len(closed) > 0


def test_one_id_keeps_its_order_and_others_overtake():
    timing = HbmTiming(refresh_every_ns=0, conflict_ns=300.0)
    warm = [(0, 1, 1), (1024, 1, 1)]
    reads = [*warm, (16 * 1024, 1, 2), (1024, 1, 3), (1024 + 64, 1, 2)]
    _, answered = play(timing, reads)
    order = [int(a) for a in answered["address"][2:]]
    assert order == [1024, 16 * 1024, 1024 + 64]


def test_no_more_bursts_are_held_than_the_limit():
    for timing in (HostTiming(), HbmTiming(reads=5)):
        asked, answered = play(timing, [(n * 64, 1, n % 64) for n in range(80)])
        limit = timing.reads
        for n in range(limit, 80):
            assert asked["cycle"][n] > sorted(answered["cycle"])[n - limit]


@pytest.mark.parametrize(
    ("lines", "extended", "reads"), [(1, True, 256), (2, True, 192), (4, True, 96), (64, True, 6), (2, False, 32)]
)
def test_our_own_end_of_pcie_is_bounded_by_tags_and_by_lines(lines, extended, reads):
    host = own_end(lines, extended=extended)
    assert (host.reads, host.writes, host.reorder) == (reads, 32, False)
    _, answered = play(host, [(4096 * n, 2 * lines, n % 64) for n in range(2 * reads)])
    assert list(answered["address"]) == sorted(answered["address"])  # in the order of requests, whatever their ids


@pytest.mark.parametrize("lines", [0, 65])
def test_an_access_has_at_least_a_line_and_at_most_4096_bytes(lines):
    with pytest.raises(ParamsError, match=f"lines is {lines}; an access has 1 to 64"):
        own_end(lines)


def test_host_latency_follows_its_distribution():
    scheduler = HostScheduler(HostTiming(), seed=1)
    found = []
    for n in range(20_000):
        burst = Burst(False, Address(0, 0, 0, 5, 1), 64, 2, 0)
        now = n * 3000 * FS_PER_NS
        scheduler.arrive(burst, now)
        scheduler.answer(burst)
        found.append((burst.time - now) / FS_PER_NS)
    found.sort()
    assert found[9_000] == 600
    for nanoseconds, share in ((613, 0.95), (960, 0.999)):  # four standard deviations either way
        below = sum(latency <= nanoseconds for latency in found) / len(found)
        assert below == pytest.approx(share, abs=4 * (share * (1 - share) / len(found)) ** 0.5)
    assert found[0] == 600
    assert found[-1] <= 1200


@pytest.mark.parametrize(("length", "gbps"), [(64, 65.0), (128, 82.7), (256, 95.7)])
def test_link_carries_reads_and_writes_at_the_ceiling(length, gbps):
    scheduler = HostScheduler(HostTiming(quantiles=((0.0, 600.0), (1.0, 600.0))), seed=1)
    count = 2000
    for _ in range(count):  # one read and one write of each length, all waiting for the link
        for write in (False, True):
            burst = Burst(write, Address(0, 0, 0, 5, 1), length, length // 32, 0)
            scheduler.arrive(burst, 0)
            scheduler.answer(burst)
    seconds = (burst.time / FS_PER_NS - 300) * 1e-9
    assert 8 * length * count / seconds / 1e9 == pytest.approx(gbps, rel=0.002)


@pytest.mark.parametrize("make", [HbmTiming, HostTiming])
@pytest.mark.parametrize("name", ["clock_mhz", "reads", "writes", "ids"])
def test_zero_is_refused(make, name):
    with pytest.raises(ParamsError, match=f"{name} is 0; it must be positive"):
        make(**{name: 0})


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (HbmTiming, {"hit_ns": -1}, "hit_ns is -1; it must not be negative"),
        (HbmTiming, {"banks": 0}, "banks is 0; it must be positive"),
        (HbmTiming, {"refresh_ns": 2000.0}, "at least twice"),
        (HbmTiming, {"ready_withheld": 1.0}, "nothing would move"),
        (HostTiming, {"quantiles": ((0.0, 1.0),)}, "2 to 16 points"),
        (HostTiming, {"quantiles": ((0.0, 700.0), (0.5, 600.0), (1.0, 800.0))}, "must rise"),
        (HostTiming, {"write_ns": 601.0}, "PCIe forbids"),
        (HostTiming, {"link_gbps": 0}, "must be positive"),
    ],
)
def test_impossible_figures_are_refused(make, arguments, message):
    with pytest.raises(ParamsError, match=message):
        make(**arguments)
