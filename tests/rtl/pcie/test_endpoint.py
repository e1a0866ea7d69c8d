"""Our end of PCIe under the port that drives it on a card, and a host that answers as it likes."""

import random
from collections import defaultdict
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from rtl.memory.host_port import id_bits
from rtl.pcie.layouts import ANSWER, BEAT, Status, Type
from rtl.pcie.restart import RESET_CYCLES
from rtl.pcie.settings import EXTENDED_TAG
from sim.bench.compiled import Design
from tests.support.designs.host_port_on_pcie import PAGE_IDS, PATIENCE, RING_IDS, TIMEOUT, HostPortOnPcie
from tests.support.rtl.pcie_host import LINE, RequestParser, completion, completions, register_request

BASE = 7 << 33
IDS = {"page": PAGE_IDS, "ring": RING_IDS}
AREA = 1 << 14
SIZE = AREA * sum(IDS.values())


@cache
def design():
    return Design(HostPortOnPcie())


class Host:
    """A bench, host memory, and completions that are on their way.

    A request meets memory in the order in which it leaves. Its completions come in any order between requests.
    """

    def __init__(self, *, seed=0, payload=1, read_request=2, extended=True):
        self.rng, self.memory = random.Random(seed), bytearray(random.Random(seed).randbytes(SIZE))
        self.bench = design().bench(seed=seed)
        self.bench.set("max_payload", payload)
        self.bench.set("max_read_request", read_request)
        self.bench.set("bus_master", 1)
        self.bench.set("mgmt_data", extended << EXTENDED_TAG)
        self.bench.set("mgmt_done", 1)
        self.parser, self.queues, self.silent = RequestParser(), {}, False
        self.bench.run(100)

    def read(self, client, number, address, lines):
        self.bench.source(f"i_{client}_read").push([{"address": BASE + address, "lines": lines, "id": number}])

    def write(self, client, number, address, data):
        lines = [data[at : at + LINE] for at in range(0, len(data), LINE)]
        self.bench.source(f"i_{client}_write").push([{"address": BASE + address, "lines": len(lines), "id": number}])
        self.bench.source(f"i_{client}_lines").push(lines)

    def at(self, address, size):
        return bytes(self.memory[address - BASE : address - BASE + size])

    def turn(self, cycles=20):
        """Let time pass, and answer some of what came."""
        self.bench.run(cycles)
        for request in self.parser.parse(self.bench.sink("o_rq").take()):
            if request.kind == Type.WRITE:
                start = request.address - BASE
                self.memory[start : start + len(request.data)] = request.data
                self.bench.source("i_sent_0").push([request.sequence])
            elif not self.silent:
                assert request.tag not in self.queues
                self.queues[request.tag] = completions(request, self.at, self.rng)
        for _ in range(self.rng.randint(0, 6)):
            if self.queues:
                tag = self.rng.choice(list(self.queues))
                self.bench.source("i_rc").push(self.queues[tag].pop(0))
                if not self.queues[tag]:
                    del self.queues[tag]

    def lines(self, client):
        """Return the lines that were read, by id: text, and whether it is the last of its access."""
        found, bits = defaultdict(list), id_bits(IDS[client])
        for item in self.bench.sink(f"o_{client}_data").take():
            line = (item >> bits & (1 << 512) - 1).to_bytes(LINE, "little")
            found[item & (1 << bits) - 1].append((line, bool(item >> bits + 512)))
        return found


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**32 - 1), payload=st.integers(0, 3), read_request=st.integers(0, 5), extended=st.booleans()
)
def test_an_area_is_read_as_it_was_last_written(seed, payload, read_request, extended):
    """Each id has an area, and reads from it what it wrote as soon as that is `written`."""
    host = Host(seed=seed, payload=payload, read_request=read_request, extended=extended)
    rng = host.rng
    todo = {(client, number): 2 for client, count in IDS.items() for number in range(count)}
    expected, begun, got = bytearray(host.memory), {}, defaultdict(list)
    first = {"page": 0, "ring": IDS["page"]}
    for _ in range(6000):
        for (client, number), rounds in todo.items():
            if (client, number) in begun or not rounds:
                continue
            lines = rng.choice([1, 4, rng.randint(1, 70)])
            address = (first[client] + number) * AREA + rng.randrange(AREA // LINE - lines) * LINE
            data = rng.randbytes(lines * LINE)
            expected[address : address + len(data)] = data
            host.write(client, number, address, data)
            begun[client, number] = ("write", address, lines)
            todo[client, number] -= 1
        host.turn(rng.choice([1, 10, 40]))
        for client in IDS:
            for number in host.bench.sink(f"o_{client}_written").take():
                kind, address, lines = begun[client, number]
                assert kind == "write"
                host.read(client, number, address, lines)
                begun[client, number] = ("read", address, lines)
            for number, came in host.lines(client).items():
                kind, address, lines = begun[client, number]
                assert kind == "read"
                got[client, number] += came
                if len(got[client, number]) == lines:
                    text = b"".join(line for line, _ in got[client, number])
                    assert text == expected[address : address + lines * LINE]
                    assert [last for _, last in got[client, number]] == [n == lines - 1 for n in range(lines)]
                    del got[client, number], begun[client, number]
        if not begun and not any(todo.values()):
            break
    else:
        raise AssertionError(f"not done: {begun}")
    host.turn(20)
    assert host.memory == expected
    assert not host.bench.get("error")
    assert host.bench.get("quiet")


def test_a_read_that_the_host_refuses_is_a_fault():
    host = Host()
    host.silent = True
    host.read("page", 3, 0, 4)
    host.bench.run(100)
    (request,) = host.parser.parse(host.bench.sink("o_rq").take())
    host.bench.source("i_rc").push(
        completion(request.tag, 0, remaining=4, last=True, status=Status.UNSUPPORTED, error=2)
    )
    host.bench.run(50)
    assert host.bench.get("error")


def test_a_host_that_does_not_answer_or_does_not_let_us_ask_is_a_fault():
    for bus_master in (1, 0):
        host = Host()
        host.silent = True
        host.bench.set("bus_master", bus_master)
        host.read("ring", 1, 0, 4)
        host.bench.run(100)
        assert host.bench.sink("o_rq").transfers == bus_master
        assert not host.bench.get("error")
        host.bench.run(2 * TIMEOUT)
        assert host.bench.get("error")


def test_registers_are_served_beside_host_memory():
    host = Host()
    host.bench.set("m_axi__awready", 1)
    host.bench.set("m_axi__wready", 1)
    host.bench.set("m_axi__bvalid", 1)
    host.bench.set("m_axi__arready", 1)
    host.bench.set("m_axi__rvalid", 1)
    host.bench.set("m_axi__rdata", 0x12345678)
    host.read("page", 0, 0, 8)
    host.bench.source("i_cq").push(register_request(Type.READ, 0x40, tag=9))
    for _ in range(40):
        host.turn()
    (answer,) = host.bench.sink("o_cc").take()
    assert BEAT["cc"].from_bits(answer)["data"] >> 96 == 0x12345678
    assert [len(lines) for lines in host.lines("page").values()] == [8]


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), answered=st.booleans())
def test_a_reset_of_the_function_forgets_everything_and_leaves_nothing_behind(seed, answered):
    """In the middle of reads and writes; the host may still answer what was under way, or not."""
    host, rng = Host(seed=seed), random.Random(seed)
    for _ in range(12):
        client = rng.choice(list(IDS))
        number, lines = rng.randrange(IDS[client]), rng.randint(1, 40)
        if rng.random() < 0.6:
            host.read(client, number, rng.randrange(100) * LINE, lines)
        else:
            host.write(client, number, rng.randrange(100) * LINE, rng.randbytes(lines * LINE))
    sources = [f"i_{client}_{what}" for client in IDS for what in ("read", "write", "lines")]
    while any(host.bench.source(name).remaining for name in sources):
        host.turn(5)
    host.turn(rng.randint(0, 30))
    host.bench.set("reset_asked", 1)
    host.turn(60)
    host.parser.parse(host.bench.sink("o_rq").take())
    assert host.parser.between  # what was begun has ended
    assert host.bench.get("card_reset")
    seen = host.bench.sink("o_rq").transfers
    late = []
    if answered:
        while host.queues:
            host.turn(5)
    else:
        late, host.queues = [beats for queue in host.queues.values() for beats in queue], {}
    host.bench.run_until(limit=PATIENCE + RESET_CYCLES + 100, values={"reset_done": 1})
    host.bench.run(20)
    assert host.bench.get("card_reset")
    host.bench.set("reset_asked", 0)
    host.bench.run(200)
    assert host.bench.sink("o_rq").transfers == seen
    for client in IDS:
        host.lines(client)
        host.bench.sink(f"o_{client}_written").take()
    for beats in late:  # nobody waits for these any more
        host.bench.source("i_rc").push(beats)
    host.bench.run(400)
    assert not any(host.lines(client) for client in IDS)
    assert host.bench.get("quiet")
    assert not host.bench.get("error")
    host.read("page", 5, 0, 20)
    for _ in range(60):
        host.turn()
    assert b"".join(line for line, _ in host.lines("page")[5]) == host.at(BASE, 20 * LINE)


@settings(max_examples=4)
@given(seed=st.integers(0, 2**32 - 1))
def test_whatever_comes_in_the_middle_of_a_reset_touches_nothing(seed):
    """An access of the registers ends first; then requests of all kinds are refused, and completions are dropped."""
    host, rng = Host(seed=seed), random.Random(seed)
    bench, ends = host.bench, [f"m_axi__{name}" for name in ("awready", "wready", "bvalid", "arready", "rvalid")]
    bench.source("i_cq", idle=0.5).push(register_request(Type.WRITE, 0x40, data=b"word"))
    for number in range(8):
        host.read("page", number, number * AREA, 16)
    bench.run(100)
    late = [beats for n in host.parser.parse(bench.sink("o_rq").take()) for beats in completions(n, host.at, rng)]
    assert bench.get("m_axi__awvalid")
    bench.set("reset_asked", 1)
    bench.run(100)
    assert not bench.get("card_reset")  # the access is under way
    for name in ends:
        bench.set(name, 1)
    kinds = [kind for kind in range(16) for _ in range(2)]
    rng.shuffle(kinds)
    for kind in kinds:
        data = b"" if kind == Type.READ else rng.randbytes(4)
        bench.source("i_cq").push(register_request(kind, 0x40, data=data, tag=kind))
    bench.run_until(limit=50, values={"card_reset": 1})
    bench.run(PATIENCE - rng.randint(40, 120))
    for beats in late[:-1]:  # so that some are cut by the reset
        bench.source("i_rc").push(beats)
    while not bench.get("reset_done"):
        assert bench.get("card_reset")
        assert not any(bench.get(f"m_axi__{name}") for name in ("awvalid", "wvalid", "arvalid"))
        bench.run(1)
    bench.run(500)
    answers = [ANSWER.from_bits(item & (1 << ANSWER.size) - 1) for item in bench.sink("o_cc").take()]
    refused = [kind for kind in kinds if kind <= Type.LAST_COMPLETED and kind != Type.WRITE]
    assert [(answer["tag"], answer["status"]) for answer in answers] == [(n, Status.UNSUPPORTED) for n in refused]
    bench.set("reset_asked", 0)
    bench.run(200)
    assert not any(host.lines(client) for client in IDS)
    bench.source("i_cq").push(register_request(Type.READ, 0x40))
    host.read("page", 5, 0, 20)
    for _ in range(60):
        host.turn()
    assert b"".join(line for line, _ in host.lines("page")[5]) == host.at(BASE, 20 * LINE)
    assert ANSWER.from_bits(bench.sink("o_cc").take()[0] & (1 << ANSWER.size) - 1)["status"] == Status.SUCCESSFUL
    assert bench.get("quiet")
    assert not bench.get("error")
