"""Memory behind a line buffer, as a circuit: it runs inside a compiled design, where no Python can answer."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from rtl.memory.line_buffer import LineBuffer


class LateLines(wiring.Component):
    """Answers fetches in any order, and lets a write take effect as late as it can: when it is acknowledged.

    Every transfer takes a drawn time from ``latency`` to ``latency + jitter``. Requests are held back at times.

    Parameters
    ----------
    buffer : LineBuffer
        What it serves; gives widths and the number of transfers under way.
    lines : int
        Lines, all zero at first.
    seed : int
        Makes the draws of two memories differ.

    Members
    -------
    fetch, fetched, flush, flushed
        The streams of :class:`~rtl.memory.line_buffer.LineBuffer`.
    latency : In(8)
        Fewest cycles of a transfer.
    jitter : In(8)
        Mask of the cycles drawn on top.
    shy : In(1)
        Whether requests are held back at times.
    wipe : In(1)
        Zeroes a line a cycle, one after the other, in place of what was written.
    """

    def __init__(self, buffer: LineBuffer, *, lines: int, seed: int) -> None:
        self.transfers, self.lines, self.seed = buffer.entries, lines, seed
        members = buffer.signature.members
        names = {"fetch": "o_fetch", "fetched": "i_fetched", "flush": "o_flush", "flushed": "i_flushed"}
        super().__init__(
            {
                **{name: members[other].flip() for name, other in names.items()},
                "latency": In(8),
                "jitter": In(8),
                "shy": In(1),
                "wipe": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        n = self.transfers
        m.submodules.memory = memory = Memory(shape=len(self.flush.p.data), depth=self.lines, init=[])
        write, read = memory.write_port(), memory.read_port(domain="comb")

        random = Signal(64, init=(0x9E3779B97F4A7C15 * (2 * self.seed + 1)) % 2**64)
        step = random ^ (random << 13)[:64]
        step = step ^ (step >> 7)
        m.d.sync += random.eq(step ^ (step << 17)[:64])  # xorshift64 (Marsaglia 2003)

        def transfers(request, answer, share):
            """Keep requests for a drawn time, then choose among them by draw; return what is answered."""
            drawn = random[share:]
            held, due = Signal(n, name=f"held{share}"), Signal(n, name=f"due{share}")
            address = Array(Signal(len(request.p.address), name=f"address{share}_{k}") for k in range(n))
            m.d.comb += request.ready.eq(~self.shy | (drawn[:2] != 0))
            for k in range(n):
                timer = Signal(9, name=f"timer{share}_{k}")
                m.d.comb += due[k].eq(held[k] & (timer == 0))
                with m.If(request.valid & request.ready & (request.p.id == k)):
                    m.d.sync += [
                        held[k].eq(1),
                        address[k].eq(request.p.address),
                        timer.eq(self.latency + (drawn[2:10] & self.jitter)),
                    ]
                with m.Elif(answer.valid & answer.ready & (index[share] == k)):
                    m.d.sync += held[k].eq(0)
                with m.Elif(timer != 0):
                    m.d.sync += timer.eq(timer - 1)
            # An answer on offer stays as it is: the choice is registered.
            start, first = Signal(range(n), name=f"start{share}"), Signal(range(2 * n), name=f"first{share}")
            m.d.comb += start.eq(Mux(drawn[10:16] < n, drawn[10:16], 0))
            for k in reversed(range(n)):
                with m.If((Cat(due, due) >> start)[k]):
                    m.d.comb += first.eq(start + k)
            with m.If(~answer.valid):
                m.d.sync += [
                    answer.valid.eq(due.any()),
                    index[share].eq(Mux(first < n, first, first - n)),
                ]
            with m.Elif(answer.ready):
                m.d.sync += answer.valid.eq(0)
            return address[index[share]]

        index = {share: Signal(range(n), name=f"index{share}") for share in (0, 24)}
        m.submodules.data = data = Memory(shape=len(self.flush.p.data), depth=n, init=[])
        store, stored = data.write_port(), data.read_port(domain="comb")
        m.d.comb += [
            read.addr.eq(transfers(self.fetch, self.fetched, 0)),
            self.fetched.p.id.eq(index[0]),
            self.fetched.p.data.eq(read.data),
            write.addr.eq(transfers(self.flush, self.flushed, 24)),
            self.flushed.p.eq(index[24]),
            store.addr.eq(self.flush.p.id),
            store.data.eq(self.flush.p.data),
            store.en.eq(self.flush.valid & self.flush.ready),
            stored.addr.eq(index[24]),
            write.data.eq(stored.data),
            write.en.eq(self.flushed.valid & self.flushed.ready),
        ]
        wiped = Signal(range(self.lines))
        with m.If(self.wipe):
            m.d.sync += wiped.eq(Mux(wiped == self.lines - 1, 0, wiped + 1))
            m.d.comb += [write.addr.eq(wiped), write.data.eq(0), write.en.eq(1)]
        return m
