"""Waiting tuples on chip: bins in flight, each with its descriptor and the tuples that wait for it."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import enum, stream, wiring
from amaranth.lib.data import StructLayout, View
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from omap.params import Params
from rtl.fifo import Fifo
from rtl.interfaces import require, require_whole
from rtl.page import Verdict

MOST_WAITING = 128
"""Tuples that a bin on chip has room for. More wait for one page with a probability below 2^-120: a fault."""

HEAD_BITS = 128
"""Bits of a first line before its indices: version (48), count (16), occupancy (32), link (32)."""


class Use(enum.Enum, shape=1):
    """What a bin is announced for."""

    TOUCH = 0
    """Its page is touched: waiting tuples may leave, and the version rises."""
    APPEND = 1
    """A tuple may join."""


class WaitingBins(wiring.Component):
    """Bins are announced early, used in order, and always up to date then. Equals :class:`omap.waiting.Waiting`.

    A touch announces the use of a bin and fetches its descriptor and its waiting tuples, unless a copy is here. Bins
    are used in the order of their touches. A TOUCH offers version and occupancy, then every waiting tuple and an end;
    it takes a verdict for each tuple and the new occupancy. An APPEND takes a tuple, or nothing. A changed bin goes
    back to HBM once no touch waits for it; its copy stays until all its writes have arrived.

    Lines have the layout of :mod:`omap.waiting`; which slots and further lines are used, and in what order they are
    used again, is this block's own affair.

    Parameters
    ----------
    params : Params
        Gives the layout; a rule with pages.
    entries : int
        Bins kept, 2 to 64: at least the uses under way, from touch to the arrival of the last write.
    most : int
        Tuples that a bin has room for.

    Members
    -------
    i_touch : In(stream.Signature({"bin", "use"}))
        Bins that will be used, and for what, in order.
    o_bin : Out(stream.Signature({"version": 48, "occupancy": page_slots}))
        A touched bin, at its use.
    o_waiting : Out(stream.Signature({"end": 1, "entry": tuple}))
        Its tuples, oldest first, then an end.
    i_verdict : In(stream.Signature(Verdict))
        What became of each; comes when its tuple is taken, or later.
    i_occupancy : In(stream.Signature(page_slots))
        Used slots of the page from now on; ends the use.
    i_append : In(stream.Signature({"present": 1, "entry": tuple}))
        The tuple that joins a bin announced for APPEND, if any; ends the use.
    o_line_fetch, i_line_fetched, o_line_flush, i_line_flushed
        Descriptor lines, as in :class:`rtl.line_buffer.LineBuffer`; further lines follow the bins. Reads and writes
        may be answered in any order.
    o_slot_fetch, i_slot_fetched : streams of {"slot", "entry"} and of {"entry": tuple}
        Waiting slots to read; answered in order.
    o_slot_write, i_slot_written
        Slots to write ({"slot", "data"}), and their arrival, in order.
    i_free_slot, o_freed_slot, i_free_line, o_freed_line
        From and to the free lists.
    exhausted : Out(1)
        A bin had no room for one more tuple. Stays.
    idle : Out(1)
        No copy is kept: HBM holds everything.
    """

    def __init__(self, params: Params, *, entries: int = 32, most: int | None = None) -> None:
        require(params.page_slots > 0, f"rule is {params.rule}; only maps with pages have waiting tuples")
        require_whole("entries", entries, 2, 64)
        most = min(MOST_WAITING, params.capacity) if most is None else most
        require_whole("most", most, 1, 1024)
        self.params, self.entries, self.most = params, entries, most
        self.id_bits = (entries - 1).bit_length()
        self.bin_bits = max(1, (params.bins - 1).bit_length())
        self.line_bits = max(1, (params.bins + params.further_lines - 1).bit_length())
        self.slot_bits = max(1, (params.waiting_slots - 1).bit_length())
        self.further_bits = max(1, (params.further_lines - 1).bit_length())
        line, entry = 8 * params.descriptor_bytes, 8 * params.tuple_bytes
        fetch = StructLayout({"address": self.line_bits, "id": self.id_bits})
        super().__init__(
            {
                "i_touch": In(stream.Signature(StructLayout({"bin": self.bin_bits, "use": Use}))),
                "o_bin": Out(stream.Signature(StructLayout({"version": 48, "occupancy": params.page_slots}))),
                "o_waiting": Out(stream.Signature(StructLayout({"end": 1, "entry": entry}))),
                "i_verdict": In(stream.Signature(Verdict)),
                "i_occupancy": In(stream.Signature(params.page_slots)),
                "i_append": In(stream.Signature(StructLayout({"present": 1, "entry": entry}))),
                "o_line_fetch": Out(stream.Signature(fetch)),
                "i_line_fetched": In(stream.Signature(StructLayout({"id": self.id_bits, "data": line}))),
                "o_line_flush": Out(
                    stream.Signature(StructLayout({"address": self.line_bits, "id": self.id_bits, "data": line}))
                ),
                "i_line_flushed": In(stream.Signature(self.id_bits)),
                "o_slot_fetch": Out(stream.Signature(self.slot_bits)),
                "i_slot_fetched": In(stream.Signature(entry)),
                "o_slot_write": Out(stream.Signature(StructLayout({"slot": self.slot_bits, "data": entry}))),
                "i_slot_written": In(stream.Signature(0)),
                "i_free_slot": In(stream.Signature(self.slot_bits)),
                "o_freed_slot": Out(stream.Signature(self.slot_bits)),
                "i_free_line": In(stream.Signature(self.further_bits)),
                "o_freed_line": Out(stream.Signature(self.further_bits)),
                "exhausted": Out(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        params, n, most = self.params, self.entries, self.most
        first_indices, further_indices = params.line_indices
        place_bits = max(1, (most - 1).bit_length())

        # What is kept of every bin.
        def array(shape: object, name: str) -> Array:
            return Array(Signal(shape, name=f"{name}_{k}") for k in range(n))

        number = array(self.bin_bits, "number")
        version = array(48, "version")
        occupancy = array(params.page_slots, "occupancy")
        count = array(range(most + 1), "count")
        touches = array(range(4 * n + 1), "touches")  # announced uses to come
        missing = array(range(most + 1), "missing")  # tuples on their way from HBM
        writes = array(16, "writes")  # writes on their way to HBM
        used, parsed, changed = Signal(n), Signal(n), Signal(n)
        m.d.comb += self.idle.eq(used == 0)

        # Tuples and the slots they lie in, `most` places for each bin. The use writes first, a fetch waits.
        depth = n << place_bits
        style = "distributed" if depth <= 64 else "block"
        tuples = Memory(shape=8 * params.tuple_bytes, depth=depth, init=[], attrs={"ram_style": style})
        slots = Memory(shape=self.slot_bits, depth=depth, init=[], attrs={"ram_style": "distributed"})
        m.submodules.tuples, m.submodules.slots = tuples, slots
        tuples_write, slots_write = tuples.write_port(), slots.write_port()
        read_tuple = tuples.read_port(transparent_for=(tuples_write,))
        read_slot, flush_slot = slots.read_port(domain="comb"), slots.read_port(domain="comb")

        # The further lines that each bin has in HBM, in the order of their links.
        most_lines = max(1, -(-(most - first_indices) // further_indices))
        chain_bits = max(1, (most_lines - 1).bit_length())
        chains = Memory(shape=self.further_bits, depth=n << chain_bits, init=[], attrs={"ram_style": "distributed"})
        m.submodules.chains = chains
        chain_write, chain_read = chains.write_port(), chains.read_port(domain="comb")
        held = array(range(most_lines + 1), "held")

        def at(entry: Value, place: Value | None) -> Value:
            return Cat(Signal(place_bits) if place is None else (place | Signal(place_bits))[:place_bits], entry)

        def link_at(entry: Value, link: Value) -> Value:
            return Cat((link | Signal(chain_bits))[:chain_bits], entry)

        def lowest(mask: Value, name: str) -> tuple[Signal, Signal]:
            found, index = Signal(name=f"{name}_found"), Signal(self.id_bits, name=f"{name}_index")
            m.d.comb += found.eq(mask.any())
            for k in reversed(range(n)):
                with m.If(mask[k]):
                    m.d.comb += index.eq(k)
            return found, index

        # -- touch: a copy that is here, or a free entry and a fetch ------------------------------------------------
        address_id = StructLayout({"address": self.line_bits, "id": self.id_bits})
        m.submodules.order = order = Fifo(shape=StructLayout({"id": self.id_bits, "use": Use}), depth=4 * n)
        m.submodules.fetches = fetches = Fifo(shape=address_id, depth=n + 1)
        wiring.connect(m, fetches.o, wiring.flipped(self.o_line_fetch))
        match = Signal(n)
        m.d.comb += match.eq(Cat(used[k] & (number[k] == self.i_touch.payload.bin) for k in range(n)))
        hit, hit_index = lowest(match, "hit")
        vacant, vacant_index = lowest(~used, "vacant")
        touched, touch, follow = Signal(self.id_bits), Signal(), Signal()
        line_id, link = Signal(self.id_bits), Signal(32)
        m.d.comb += [
            touched.eq(Mux(hit, hit_index, vacant_index)),
            self.i_touch.ready.eq(order.i.ready & (hit | (vacant & fetches.i.ready & ~follow))),
            touch.eq(self.i_touch.valid & self.i_touch.ready),
            order.i.valid.eq(touch),
            order.i.payload.id.eq(touched),
            order.i.payload.use.eq(self.i_touch.payload.use),
            fetches.i.valid.eq((touch & ~hit) | follow),
            fetches.i.payload.address.eq(Mux(follow, params.bins + link, self.i_touch.payload.bin)),
            fetches.i.payload.id.eq(Mux(follow, line_id, vacant_index)),
        ]

        # -- fetch: parse lines, ask for the tuples of their indices, follow links ----------------------------------
        is_further = Signal(n)  # what is fetched for a bin is a further line
        left_after = array(range(most + 1), "left_after")  # indices on further lines
        indices = Signal(8 * params.descriptor_bytes)
        in_line, left, place = Signal(range(32)), Signal(range(most + 1)), Signal(range(most + 1))
        m.submodules.asked = asked = Fifo(
            shape=StructLayout({"id": self.id_bits, "place": place_bits}), depth=max(64, 2 * n)
        )
        slot_fill, parse_done, use_writes_slot = Signal(), Signal(), Signal()
        hold, flush_writes_chain = Signal(), Signal()
        head = View(
            StructLayout({"version": 48, "count": 16, "occupancy": 32, "link": 32}),
            self.i_line_fetched.payload.data[:HEAD_BITS],
        )
        arrived = self.i_line_fetched.payload
        m.d.comb += [asked.i.payload.id.eq(line_id), asked.i.payload.place.eq(place)]
        with m.FSM(name="fetch"):
            with m.State("LINE"):
                m.d.comb += self.i_line_fetched.ready.eq(1)
                m.d.sync += line_id.eq(arrived.id)
                with m.If(self.i_line_fetched.valid):
                    with m.If(is_further.bit_select(arrived.id, 1)):
                        rest = left_after[arrived.id]
                        m.d.sync += [
                            indices.eq(arrived.data >> 32),
                            link.eq(arrived.data[:32]),
                            left.eq(rest),
                            in_line.eq(Mux(rest > further_indices, further_indices, rest)),
                            place.eq(count[arrived.id] - rest),
                        ]
                    with m.Else():
                        m.d.sync += [
                            indices.eq(arrived.data >> HEAD_BITS),
                            link.eq(head.link),
                            left.eq(head.count),
                            in_line.eq(Mux(head.count > first_indices, first_indices, head.count)),
                            place.eq(0),
                            version[arrived.id].eq(head.version),
                            occupancy[arrived.id].eq(head.occupancy),
                            count[arrived.id].eq(head.count),
                            missing[arrived.id].eq(head.count),
                            held[arrived.id].eq(0),
                        ]
                    m.next = "INDEX"
            with m.State("INDEX"):
                with m.If(in_line != 0):
                    with m.If(~use_writes_slot):
                        m.d.comb += slot_fill.eq(1)
                        m.next = "TUPLE"
                with m.Elif(left != 0):
                    m.next = "HOLD"
                with m.Else():
                    m.d.comb += parse_done.eq(1)
                    m.next = "LINE"
            with m.State("TUPLE"):
                m.d.comb += [
                    self.o_slot_fetch.valid.eq(asked.i.ready),
                    self.o_slot_fetch.payload.eq(indices),
                    asked.i.valid.eq(self.o_slot_fetch.ready),
                ]
                with m.If(asked.i.valid & asked.i.ready):
                    m.d.sync += [
                        indices.eq(indices >> 32),
                        in_line.eq(in_line - 1),
                        left.eq(left - 1),
                        place.eq(place + 1),
                    ]
                    m.next = "INDEX"
            with m.State("HOLD"):
                with m.If(~flush_writes_chain):
                    m.d.comb += hold.eq(1)
                    m.d.sync += held[line_id].eq(held[line_id] + 1)
                    m.next = "FOLLOW"
            with m.State("FOLLOW"):
                m.d.comb += follow.eq(1)
                m.d.sync += left_after[line_id].eq(left)
                with m.If(fetches.i.ready):
                    m.next = "LINE"

        # -- use: one bin after the other ---------------------------------------------------------------------------
        who = order.o.payload.id
        is_here, flushing_who, use_done = Signal(), Signal(), Signal()
        reading, keeping, total = Signal(range(most + 1)), Signal(range(most + 1)), Signal(range(most + 1))
        keep, append, touch_done = Signal(), Signal(), Signal()
        m.submodules.sent = sent = Fifo(shape=self.id_bits, depth=64)
        m.d.comb += [
            is_here.eq(order.o.valid & parsed.bit_select(who, 1) & (missing[who] == 0) & ~flushing_who),
            order.o.ready.eq(use_done),
            self.o_bin.payload.version.eq(version[who]),
            self.o_bin.payload.occupancy.eq(occupancy[who]),
            self.o_waiting.payload.end.eq(reading == total),
            self.o_waiting.payload.entry.eq(Mux(reading == total, 0, read_tuple.data)),
            read_slot.addr.eq(at(who, reading)),
            self.o_freed_slot.payload.eq(read_slot.data),
            self.o_slot_write.payload.slot.eq(self.i_free_slot.payload),
            self.o_slot_write.payload.data.eq(self.i_append.payload.entry),
            sent.i.payload.eq(who),
        ]
        with m.FSM(name="use"):
            with m.State("BIN"):
                m.d.comb += read_tuple.addr.eq(at(who, None))
                m.d.sync += [reading.eq(0), keeping.eq(0), total.eq(count[who])]
                with m.If(is_here):
                    with m.If(order.o.payload.use == Use.APPEND):
                        m.next = "APPEND"
                    with m.Else():
                        m.next = "OFFER"
            with m.State("OFFER"):
                m.d.comb += [self.o_bin.valid.eq(1), read_tuple.addr.eq(at(who, None))]
                with m.If(self.o_bin.ready):
                    m.next = "TUPLES"
            with m.State("TUPLES"):
                # The memory is read a cycle ahead; after a tuple was taken, its verdict is awaited.
                awaited, judged = Signal(), Signal()
                stays = self.i_verdict.payload == Verdict.KEPT
                m.d.comb += [
                    self.o_waiting.valid.eq(~awaited),
                    read_tuple.addr.eq(at(who, reading + judged)),
                    self.o_freed_slot.valid.eq((reading != total) & self.i_verdict.valid & ~stays),
                    self.i_verdict.ready.eq((reading != total) & (stays | self.o_freed_slot.ready)),
                    judged.eq(self.i_verdict.valid & self.i_verdict.ready),
                    keep.eq(judged & stays),
                ]
                with m.If(judged):
                    m.d.sync += [awaited.eq(0), reading.eq(reading + 1), keeping.eq(keeping + stays)]
                with m.Elif(self.o_waiting.valid & self.o_waiting.ready):
                    with m.If(reading == total):
                        m.next = "OCCUPANCY"
                    with m.Else():
                        m.d.sync += awaited.eq(1)
            with m.State("OCCUPANCY"):
                m.d.comb += [
                    self.i_occupancy.ready.eq(1),
                    touch_done.eq(self.i_occupancy.valid),
                    use_done.eq(touch_done),
                ]
                with m.If(touch_done):
                    m.d.sync += [
                        occupancy[who].eq(self.i_occupancy.payload),
                        version[who].eq(version[who] + 1),
                        count[who].eq(keeping),
                    ]
                    m.next = "BIN"
            with m.State("APPEND"):
                present, room = self.i_append.payload.present, count[who] != most
                m.d.comb += [
                    self.o_slot_write.valid.eq(
                        self.i_append.valid & present & room & self.i_free_slot.valid & sent.i.ready
                    ),
                    append.eq(self.o_slot_write.valid & self.o_slot_write.ready),
                    self.i_free_slot.ready.eq(append),
                    sent.i.valid.eq(append),
                    use_done.eq(append | (self.i_append.valid & ~present)),
                    self.i_append.ready.eq(use_done),
                ]
                with m.If(self.i_append.valid & present & ~room):
                    m.d.sync += self.exhausted.eq(1)
                with m.If(append):
                    m.d.sync += count[who].eq(count[who] + 1)
                with m.If(use_done):
                    m.next = "BIN"

        # -- the two memories ---------------------------------------------------------------------------------------
        use_place = Mux(append, count[who], keeping)
        fill = Signal()
        m.d.comb += [
            use_writes_slot.eq(keep | append),
            slots_write.en.eq(use_writes_slot | slot_fill),
            slots_write.addr.eq(Mux(use_writes_slot, at(who, use_place), at(line_id, place))),
            slots_write.data.eq(
                Mux(append, self.i_free_slot.payload, Mux(keep, read_slot.data, indices[: self.slot_bits]))
            ),
            self.i_slot_fetched.ready.eq(asked.o.valid & ~use_writes_slot),
            fill.eq(self.i_slot_fetched.valid & self.i_slot_fetched.ready),
            asked.o.ready.eq(fill),
            tuples_write.en.eq(use_writes_slot | fill),
            tuples_write.addr.eq(
                Mux(use_writes_slot, at(who, use_place), at(asked.o.payload.id, asked.o.payload.place))
            ),
            tuples_write.data.eq(
                Mux(append, self.i_append.payload.entry, Mux(keep, read_tuple.data, self.i_slot_fetched.payload))
            ),
        ]

        # -- flush: a changed bin that nobody waits for goes back, line by line -------------------------------------
        candidates = Signal(n)
        m.d.comb += candidates.eq(
            used & parsed & changed & Cat((touches[k] == 0) & (missing[k] == 0) for k in range(n))
        )
        ready, ready_index = lowest(candidates, "ready")
        flush, busy, chosen = Signal(self.id_bits), Signal(), Signal(n)
        words = Array(Signal(self.slot_bits, name=f"word_{k}") for k in range(further_indices))
        out_place, out_word = Signal(range(most + 1)), Signal(range(further_indices + 1))
        out_further, next_line, this_line = Signal(), Signal(self.further_bits), Signal(self.further_bits)
        out_links = Signal(range(most_lines + 1))
        flushed = Signal()
        word_count = Mux(out_further, further_indices, first_indices)
        wide = [(words[k] | Signal(32))[:32] for k in range(further_indices)]
        m.d.comb += [
            flushing_who.eq(busy & (flush == who)),
            flush_slot.addr.eq(at(flush, out_place)),
            chain_write.en.eq(hold | flush_writes_chain),
            chain_write.addr.eq(Mux(hold, link_at(line_id, held[line_id]), link_at(flush, out_links))),
            chain_write.data.eq(Mux(hold, link, self.i_free_line.payload)),
            chain_read.addr.eq(link_at(flush, out_links)),
            self.o_freed_line.payload.eq(chain_read.data),
            self.o_line_flush.payload.id.eq(flush),
            self.o_line_flush.payload.address.eq(Mux(out_further, params.bins + this_line, number[flush])),
            self.o_line_flush.payload.data.eq(
                Mux(
                    out_further,
                    Cat((next_line | Signal(32))[:32], *wide),
                    Cat(
                        version[flush],
                        (count[flush] | Signal(16))[:16],
                        (occupancy[flush] | Signal(32))[:32],
                        (next_line | Signal(32))[:32],
                        *wide[:first_indices],
                    ),
                )
            ),
            flushed.eq(self.o_line_flush.valid & self.o_line_flush.ready),
        ]
        new_link = Signal()
        clear_words = [word.eq(0) for word in words]
        with m.FSM(name="flush"):
            with m.State("PICK"):
                m.d.sync += [flush.eq(ready_index), out_place.eq(0), out_word.eq(0), out_further.eq(0), *clear_words]
                m.d.sync += out_links.eq(0)
                with m.If(ready & ~(touch & hit & (touched == ready_index))):
                    m.d.comb += [chosen.eq(1 << ready_index)]
                    m.d.sync += [busy.eq(1), next_line.eq(0)]
                    m.next = "WORDS"
            with m.State("WORDS"):
                with m.If(out_place == count[flush]):
                    m.next = "LINE"
                with m.Elif(out_word == word_count):
                    m.next = "LINK"
                with m.Else():
                    m.d.sync += [
                        words[out_word].eq(flush_slot.data),
                        out_word.eq(out_word + 1),
                        out_place.eq(out_place + 1),
                    ]
            with m.State("LINK"):  # the lines it has come first, then new ones
                m.d.comb += [
                    new_link.eq(out_links == held[flush]),
                    self.i_free_line.ready.eq(new_link),
                    flush_writes_chain.eq(new_link & self.i_free_line.valid),
                ]
                m.d.sync += next_line.eq(Mux(new_link, self.i_free_line.payload, chain_read.data))
                with m.If(~new_link | self.i_free_line.valid):
                    m.d.sync += [out_links.eq(out_links + 1), held[flush].eq(held[flush] + new_link)]
                    m.next = "LINE"
            with m.State("LINE"):
                m.d.comb += self.o_line_flush.valid.eq(1)
                with m.If(flushed):
                    m.d.sync += [out_further.eq(1), this_line.eq(next_line), next_line.eq(0), out_word.eq(0)]
                    m.d.sync += clear_words
                    with m.If(out_place == count[flush]):
                        m.next = "TRIM"
                    with m.Else():
                        m.next = "WORDS"
            with m.State("TRIM"):  # lines it needs no longer are free
                m.d.comb += [
                    self.o_freed_line.valid.eq(out_links != held[flush]),
                    chain_read.addr.eq(link_at(flush, held[flush] - 1)),
                ]
                with m.If(out_links == held[flush]):
                    m.d.sync += busy.eq(0)
                    m.next = "PICK"
                with m.Elif(self.o_freed_line.ready):
                    m.d.sync += held[flush].eq(held[flush] - 1)

        # -- every bin's standing -----------------------------------------------------------------------------------
        m.d.comb += [self.i_line_flushed.ready.eq(1), self.i_slot_written.ready.eq(sent.o.valid)]
        slot_written = self.i_slot_written.valid & sent.o.valid
        m.d.comb += sent.o.ready.eq(slot_written)
        for k in range(n):
            touched_now = touch & (touched == k)
            used_now = use_done & (who == k)
            releasable = (
                used[k] & parsed[k] & ~changed[k] & (missing[k] == 0) & (touches[k] == 0) & (writes[k] == 0)
                & ~(busy & (flush == k))
            )  # fmt: skip
            m.d.sync += touches[k].eq(touches[k] + touched_now - used_now)
            m.d.sync += writes[k].eq(
                writes[k]
                + (flushed & (flush == k))
                + (append & (who == k))
                - (self.i_line_flushed.valid & (self.i_line_flushed.payload == k))
                - (slot_written & (sent.o.payload == k))
            )
            with m.If(touched_now & ~hit):
                m.d.sync += [
                    used[k].eq(1), parsed[k].eq(0), changed[k].eq(0), is_further[k].eq(0),
                    number[k].eq(self.i_touch.payload.bin),
                ]  # fmt: skip
            with m.Elif(releasable & ~touched_now):
                m.d.sync += used[k].eq(0)
            with m.If(parse_done & (line_id == k)):
                m.d.sync += [parsed[k].eq(1), is_further[k].eq(0)]
            with m.If(follow & (line_id == k)):
                m.d.sync += is_further[k].eq(1)
            with m.If(fill & (asked.o.payload.id == k)):
                m.d.sync += missing[k].eq(missing[k] - 1)
            with m.If((touch_done | append) & (who == k)):
                m.d.sync += changed[k].eq(1)
            with m.Elif(chosen[k]):
                m.d.sync += changed[k].eq(0)
        return m
