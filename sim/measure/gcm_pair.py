"""Open and seal back to back between two trips to host memory: what ``python -m sim.measure.simulators`` times.

Its function ``component`` and its cocotb test make it a bench for :mod:`sim.bench.cocotb_runner` as well.
"""

import json
import time
from pathlib import Path
from typing import Any

import cocotb
import numpy as np
from amaranth.hdl import Cat, Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from omap.crypto import PageCipher
from omap.errors import PageAlteredError
from rtl.crypto.gcm import GcmOpen, GcmSeal
from rtl.stream.axi import BURST_INCR, AxiSignature
from rtl.stream.fifo import Fifo
from sim.bench.cocotb_bench import CocotbBench
from sim.bench.cocotb_runner import parameters_of_run
from sim.models.memory import Memory
from sim.models.timing import HostTiming

PAGE_BYTES = 128
PAGES = 1024
KEY, MAP_ID = bytes(range(32)), bytes(range(16))  # made up: this is a simulation
SEED = 1
HELD = 64  # writes that may be in memory before their answer was taken


class GcmPair(wiring.Component):
    """Reads pages, opens them, seals them under another nonce and writes them back, one beat a cycle.

    Parameters
    ----------
    page_bytes : int
        Bytes of a sealed page, a power of two up to 4096.

    Members
    -------
    i_key : In(stream of {key, aad})
        Key of both blocks.
    i_page : In(stream of {addr, open, seal})
        Page to move: its address, and the nonces it is opened and sealed under.
    o_done : Out(stream of {id, resp})
        One item for each page written.
    fault : Out(1)
        A page failed authentication.
    m_axi : Out(AxiSignature)
        Host memory.
    """

    def __init__(self, *, page_bytes: int = PAGE_BYTES) -> None:
        self.page_bytes = page_bytes
        self.axi = AxiSignature(addr_width=64, data_width=128, id_width=1)
        super().__init__(
            {
                "i_key": In(stream.Signature(data.StructLayout({"key": 256, "aad": 128}))),
                "i_page": In(stream.Signature(data.StructLayout({"addr": 64, "open": 96, "seal": 96}))),
                "o_done": Out(self.axi.stream("b")),
                "fault": Out(1),
                "m_axi": Out(self.axi),
            }
        )

    def elaborate(self, platform: object) -> Module:
        """Return the circuit."""
        m = Module()
        axi = self.m_axi
        m.submodules.open = opener = GcmOpen(sealed_bytes=self.page_bytes, aad_bytes=16)
        m.submodules.seal = sealer = GcmSeal(sealed_bytes=self.page_bytes, aad_bytes=16)
        m.d.comb += self.fault.eq(opener.fault)

        keyed = self.i_key.valid & opener.i_key.ready & sealer.i_key.ready
        m.d.comb += self.i_key.ready.eq(opener.i_key.ready & sealer.i_key.ready)
        for block in (opener, sealer):
            m.d.comb += [
                block.i_key.valid.eq(keyed),
                block.i_key.payload.key.eq(self.i_key.payload.key),
                block.i_key.payload.aad.eq(self.i_key.payload.aad),
            ]

        # A page becomes two addresses and two requests, each of which waits for its own consumer.
        branches = {
            "reads": (64, self.i_page.payload.addr),
            "writes": (64, self.i_page.payload.addr),
            "opens": (96, self.i_page.payload.open),
            "seals": (96, self.i_page.payload.seal),
        }
        fifos = {name: Fifo(shape=width, depth=64) for name, (width, _) in branches.items()}
        room = Cat(fifo.i.ready for fifo in fifos.values()).all()
        m.d.comb += self.i_page.ready.eq(room)
        for name, fifo in fifos.items():
            m.submodules[name] = fifo
            m.d.comb += [fifo.i.valid.eq(self.i_page.valid & room), fifo.i.payload.eq(branches[name][1])]
        for block, fifo in ((opener, fifos["opens"]), (sealer, fifos["seals"])):
            m.d.comb += [
                block.i_request.valid.eq(fifo.o.valid),
                block.i_request.payload.nonce.eq(fifo.o.payload),
                fifo.o.ready.eq(block.i_request.ready),
            ]

        beats = self.page_bytes // self.axi.beat_bytes
        for channel, fifo in (("ar", fifos["reads"]), ("aw", fifos["writes"])):
            m.d.comb += [
                getattr(axi, channel + "valid").eq(fifo.o.valid),
                fifo.o.ready.eq(getattr(axi, channel + "ready")),
                getattr(axi, channel + "addr").eq(fifo.o.payload),
                getattr(axi, channel + "len").eq(beats - 1),
                getattr(axi, channel + "size").eq(self.axi.full_size),
                getattr(axi, channel + "burst").eq(BURST_INCR),
            ]
        m.d.comb += [
            opener.i_sealed.valid.eq(axi.rvalid),
            opener.i_sealed.payload.eq(axi.rdata),
            axi.rready.eq(opener.i_sealed.ready),
            sealer.i_text.valid.eq(opener.o_text.valid),
            sealer.i_text.payload.eq(opener.o_text.payload.data),
            opener.o_text.ready.eq(sealer.i_text.ready),
            axi.wvalid.eq(sealer.o_sealed.valid),
            axi.wdata.eq(sealer.o_sealed.payload.data),
            axi.wlast.eq(sealer.o_sealed.payload.last),
            axi.wstrb.eq(~0),
            sealer.o_sealed.ready.eq(axi.wready),
            self.o_done.valid.eq(axi.bvalid),
            self.o_done.payload.resp.eq(axi.bresp),
            axi.bready.eq(self.o_done.ready),
        ]
        return m


def component(**_parameters: Any) -> GcmPair:
    """Return the design."""
    return GcmPair()


def load(bench: Any, count: int) -> Memory:
    """Fill host memory with sealed pages and ask for ``count`` of them to be moved, whatever simulator it is."""
    codec = PageCipher(KEY, MAP_ID)
    memory = Memory(PAGES * PAGE_BYTES)
    for page in range(PAGES):
        memory.write(page * PAGE_BYTES, codec.seal(page, 1, text_of(page)))
    bench.memory("m_axi", memory, HostTiming())
    bench.source("i_key").push([{"key": int.from_bytes(KEY, "little"), "aad": int.from_bytes(MAP_ID, "little")}])
    numbers = np.arange(count)
    rows = np.zeros((count, 32), np.uint8)  # {addr, open, seal}, lowest byte first; nonces are big-endian
    pages, version = numbers % PAGES, 1 + numbers // PAGES
    rows[:, 0:8] = (pages * PAGE_BYTES).astype("<u8").view(np.uint8).reshape(count, 8)
    for start, shown in ((8, version), (20, version + 1)):
        rows[:, start : start + 4] = pages.astype(">u4").view(np.uint8).reshape(count, 4)
        rows[:, start + 4 : start + 12] = shown.astype(">u8").view(np.uint8).reshape(count, 8)
    source = bench.source("i_page")
    source.push(rows if hasattr(source, "item_bytes") else [row.tobytes() for row in rows])
    return memory


def text_of(page: int) -> bytes:
    """Return the plaintext of a page."""
    return page.to_bytes(4, "big") * ((PAGE_BYTES - 16) // 4)


def check(bench: Any, memory: Memory) -> None:
    """Assert that no page failed, and that every page written is sealed under its new version."""
    moved = bench.sink("o_done").transfers
    assert moved > 0
    assert not bench.get("fault")
    assert not any(bench.sink("o_done").take())  # ID 0, response OKAY
    codec = PageCipher(KEY, MAP_ID)
    for page in range(PAGES):
        versions = 1 + np.array([moved, moved + HELD]) // PAGES + (page < np.array([moved, moved + HELD]) % PAGES)
        for version in sorted(set(versions.tolist())):  # those on their way may be in memory already
            try:
                assert codec.open(page, version, memory.read(page * PAGE_BYTES, PAGE_BYTES)) == text_of(page)
                break
            except PageAlteredError:
                if version == max(versions):
                    raise


@cocotb.test()
async def move_pages(dut: Any) -> None:
    """Move pages for as many cycles as asked, check them, and report how many cycles a second that took."""
    parameters = parameters_of_run()
    cycles = parameters.get("cycles", 500)
    bench = await CocotbBench.start(dut, component(), seed=SEED)
    memory = load(bench, cycles // 8 + 1000)
    await bench.run(parameters.get("warm_up", 500))
    begun = time.process_time()
    await bench.run(cycles)
    rate = cycles / (time.process_time() - begun)
    check(bench, memory)
    if "file" in parameters:
        Path(parameters["file"]).write_text(json.dumps(rate))
