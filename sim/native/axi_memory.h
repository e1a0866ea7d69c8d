// An AXI port on a memory, cycle by cycle. Python form, and the specification of this one: sim/models/axi_memory.py.
#pragma once
#include <algorithm>
#include <array>
#include <cstring>
#include <deque>
#include <memory>
#include <queue>
#include <unordered_map>
#include <vector>

#include "design.h"
#include "draws.h"
#include "scheduler.h"
#include "faults.h"
#include "records.h"

struct MemoryView {  // bytes [base, base + size), owned by Python
    uint8_t *data;
    uint64_t base, size;
};

// Ports in the order of sim.bench.compiled.AXI_SIGNALS; one that the design does not have stays empty.
enum AxiSignal {
    AWID, AWADDR, AWLEN, AWSIZE, AWBURST, AWVALID, AWREADY, WDATA, WSTRB, WLAST, WVALID, WREADY, BID, BRESP, BVALID,
    BREADY, ARID, ARADDR, ARLEN, ARSIZE, ARBURST, ARVALID, ARREADY, RID, RDATA, RRESP, RLAST, RVALID, RREADY,
    AXI_SIGNALS
};

class AxiMemory {
    static constexpr uint64_t LINE = 64;  // the unit of REPLAY
    static constexpr size_t AHEAD = 16;   // beats of write data taken before their address
    enum : uint32_t { OKAY = 0, SLVERR = 2, DECERR = 3 };

    struct Address {
        uint64_t id, addr, len, size, burst;
        bool operator==(const Address &o) const {
            return id == o.id && addr == o.addr && len == o.len && size == o.size && burst == o.burst;
        }
    };
    struct Beat {
        std::vector<uint8_t> data, strobe;
        bool last;
    };
    struct Later {
        bool operator()(const Burst *a, const Burst *b) const {
            return a->time != b->time ? a->time > b->time : a->sequence > b->sequence;
        }
    };
    // What the master last showed on one of its channels, if that has not been taken yet.
    template <typename Payload> struct Offer {
        bool open = false;
        Payload payload{};
    };

    uint32_t source;
    int event_port;  // -1: not observed
    MemoryView memory;
    PortFigures figures;
    std::unique_ptr<Scheduler> scheduler;
    uint64_t seed;
    uint32_t beat_bytes, max_burst;
    Records &records;

    std::array<Wire, AXI_SIGNALS> wires;
    Port wdata{}, wstrb{}, rdata{};

    uint64_t cycle = 0, sequence = 0;
    int64_t reads = 0, writes = 0;
    bool dead = false, replayable = false;
    std::vector<Fault> faults;
    std::unordered_map<uint64_t, std::array<uint8_t, LINE>> previous;

    Offer<Address> offered_aw, offered_ar;
    bool offered_w = false, offered_last = false;
    std::vector<uint8_t> offered_data, offered_strobe;

    std::deque<Burst *> addresses;
    std::deque<Beat> beats;
    std::vector<Beat> spare_beats;
    std::priority_queue<Burst *, std::vector<Burst *>, Later> pending;
    std::array<std::vector<Burst *>, 2> order;  // reads, writes: in the order asked, until chosen
    std::array<uint32_t, 2> done{0, 0};
    std::vector<uint32_t> id_stamp;
    uint32_t stamp = 0;
    std::array<Burst *, 2> answering{nullptr, nullptr};  // on R, on B
    uint32_t beat = 0;
    std::vector<std::unique_ptr<Burst>> owned;
    std::vector<Burst *> spare;

    // Driven in the coming cycle.
    bool awready = false, wready = false, arready = false, bvalid = false, rvalid = false;

    uint64_t get(AxiSignal signal) const { return wires[signal].get(); }

    void event(EventKind kind, const Burst &burst) {
        if (event_port < 0) return;
        records.events.push_back({cycle, burst.address, static_cast<uint32_t>(burst.length),
                                  static_cast<uint16_t>(event_port), kind, 0});
    }

    void breach(Rule rule) { records.breaches.push_back({cycle, source, rule}); }

    Burst *obtain() {
        if (spare.empty()) {
            owned.push_back(std::make_unique<Burst>());
            return owned.back().get();
        }
        Burst *burst = spare.back();
        spare.pop_back();
        burst->clear();
        return burst;
    }

    bool inside(uint64_t address, uint64_t length) const {
        return address >= memory.base && address - memory.base <= memory.size &&
               length <= memory.size - (address - memory.base);
    }

    // -- what the master does ----------------------------------------------------------------------------------

    void check_address(Offer<Address> &offer, bool valid, bool ready, const Address &now, Rule withdrawn) {
        if (offer.open && !valid) breach(withdrawn);
        if (offer.open && valid && !(now == offer.payload)) breach(static_cast<Rule>(withdrawn + 1));
        offer.open = valid && !ready;
        if (offer.open) offer.payload = now;
    }

    void check_data(bool valid, bool last) {
        const auto *data = static_cast<const uint8_t *>(wdata.data), *strobe = static_cast<const uint8_t *>(wstrb.data);
        if (offered_w && !valid) breach(W_WITHDRAWN);
        if (offered_w && valid &&
            (last != offered_last || std::memcmp(data, offered_data.data(), offered_data.size()) ||
             std::memcmp(strobe, offered_strobe.data(), offered_strobe.size())))
            breach(W_CHANGED);
        offered_w = valid && !wready;
        if (offered_w) {
            offered_last = last;
            std::memcpy(offered_data.data(), data, offered_data.size());
            std::memcpy(offered_strobe.data(), strobe, offered_strobe.size());
        }
    }

    Burst *accept(const Address &a, bool write) {
        const uint64_t length = (a.len + 1) * beat_bytes;
        uint32_t resp = OKAY;
        if (a.burst != 1) breach(BURST_KIND);
        if (uint64_t{1} << a.size != beat_bytes) breach(BURST_NARROW);
        if (a.len + 1 > max_burst) breach(BURST_LENGTH);
        if (a.addr % beat_bytes) breach(BURST_UNALIGNED);
        if (a.addr / 4096 != (a.addr + length - 1) / 4096) breach(BURST_CROSSES_4K);
        if (!inside(a.addr, length)) {
            breach(ADDRESS_RANGE);
            resp = DECERR;
        }
        if (a.id >= static_cast<uint64_t>(figures.ids)) breach(ID_RANGE);
        Burst *burst = obtain();
        burst->write = write;
        burst->id = static_cast<uint32_t>(a.id);
        burst->address = a.addr;
        burst->length = length;
        burst->beats = static_cast<uint32_t>(a.len + 1);
        burst->resp = resp;
        burst->sequence = sequence++;
        return burst;
    }

    void match_writes(int64_t now) {
        while (!addresses.empty() && !beats.empty()) {
            Burst &burst = *addresses.front();
            Beat &next = beats.front();
            burst.data.insert(burst.data.end(), next.data.begin(), next.data.end());
            for (uint32_t i = 0; i < beat_bytes; ++i) burst.strobe.push_back(next.strobe[i / 8] >> i % 8 & 1);
            const bool last = next.last, whole = burst.data.size() == burst.length;
            spare_beats.push_back(std::move(next));
            beats.pop_front();
            if (last && !whole) breach(LAST_EARLY);
            if (!whole) continue;
            if (!last) breach(LAST_MISSING);
            addresses.pop_front();
            event(EVENT_WRITE_DATA, burst);
            start(burst, now);
        }
    }

    void start(Burst &burst, int64_t now) {
        for (Fault &fault : faults) {
            const bool touches = burst.address < fault.high && burst.address + burst.length > fault.low;
            if (static_cast<bool>(fault.write) != burst.write || !touches) continue;
            const uint64_t place = fault.seen++;
            if (place < fault.skip || place - fault.skip >= fault.count) continue;
            switch (fault.kind) {
                case FAULT_FLIP: burst.flip.push_back(fault.argument % (8 * burst.length)); break;
                case FAULT_REPLAY: burst.replay = true; break;
                case FAULT_DROP: burst.drop = true; break;
                case FAULT_STALL: burst.stall += static_cast<int64_t>(fault.argument) * 1000000; break;
                case FAULT_ERROR: burst.resp = std::max<uint32_t>(burst.resp, SLVERR); break;
                default: dead = true;
            }
        }
        scheduler->arrive(burst, now);
        burst.time += burst.stall;
        order[burst.write].push_back(&burst);
        pending.push(&burst);
    }

    // -- what memory does --------------------------------------------------------------------------------------

    void take_effect(int64_t until) {
        while (!pending.empty() && pending.top()->time <= until) {
            Burst &burst = *pending.top();
            pending.pop();
            if (burst.write)
                store(burst);
            else
                load(burst);
            scheduler->answer(burst);
            burst.done = true;
            ++done[burst.write];
        }
    }

    void store(Burst &burst) {
        if (burst.resp != OKAY || burst.drop) return;
        for (const uint64_t bit : burst.flip) burst.data[bit / 8] ^= 1u << bit % 8;
        if (replayable)
            for (uint64_t line = burst.address / LINE; line <= (burst.address + burst.length - 1) / LINE; ++line)
                std::memcpy(previous[line].data(), memory.data + (line * LINE - memory.base), LINE);
        uint8_t *to = memory.data + (burst.address - memory.base);
        for (uint64_t i = 0; i < burst.length; ++i)
            if (burst.strobe[i]) to[i] = burst.data[i];
    }

    void load(Burst &burst) {
        burst.data.assign(burst.length, 0);
        if (burst.resp != OKAY) return;
        std::memcpy(burst.data.data(), memory.data + (burst.address - memory.base), burst.length);
        if (burst.replay)
            for (uint64_t i = 0; i < burst.length; ++i) {
                const auto found = previous.find((burst.address + i) / LINE);
                if (found != previous.end()) burst.data[i] = found->second[(burst.address + i) % LINE];
            }
        for (const uint64_t bit : burst.flip) burst.data[bit / 8] ^= 1u << bit % 8;
    }

    // The burst that was answered first, but under one ID only in the order asked.
    Burst *choose(bool write, int64_t until) {
        if (!done[write]) return nullptr;
        std::vector<Burst *> &queue = order[write];
        const bool one_order = scheduler->order_all();
        size_t best = queue.size();
        ++stamp;
        for (size_t i = 0; i < queue.size(); ++i) {
            const Burst &burst = *queue[i];
            if (id_stamp[burst.id] != stamp) {
                id_stamp[burst.id] = stamp;
                if (burst.done && burst.time <= until && (best == queue.size() || earlier(burst, *queue[best])))
                    best = i;
            }
            if (one_order) break;
        }
        if (best == queue.size()) return nullptr;
        Burst *burst = queue[best];
        queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(best));
        --done[write];
        return burst;
    }

    static bool earlier(const Burst &a, const Burst &b) {
        return a.time != b.time ? a.time < b.time : a.sequence < b.sequence;
    }

    // -- what the port drives ----------------------------------------------------------------------------------

    bool withheld(Purpose purpose, int64_t share) const {
        return share > 0 && static_cast<int64_t>(draw(seed, purpose, cycle) & 0xFFFF) < share;
    }

    void next_drive(bool held) {
        const int64_t now = static_cast<int64_t>(cycle) * figures.period;
        const bool alive = !dead;
        if (!answering[1] && alive && !withheld(DRAW_B, figures.valid_withheld)) answering[1] = choose(true, now);
        bvalid = answering[1] != nullptr;
        rvalid = held;
        if (!held && alive && !withheld(DRAW_R, figures.valid_withheld)) {
            if (!answering[0]) {
                answering[0] = choose(false, now);
                beat = 0;
            }
            rvalid = answering[0] != nullptr;
        }
        awready = alive && writes < figures.writes && !withheld(DRAW_AW, figures.ready_withheld);
        wready = alive && beats.size() < AHEAD && !withheld(DRAW_W, figures.ready_withheld);
        arready = alive && reads < figures.reads && !withheld(DRAW_AR, figures.ready_withheld);
    }

    Address address(AxiSignal id) const {
        return {get(id), get(static_cast<AxiSignal>(id + 1)), get(static_cast<AxiSignal>(id + 2)),
                get(static_cast<AxiSignal>(id + 3)), get(static_cast<AxiSignal>(id + 4))};
    }

  public:
    AxiMemory(uint32_t source, int event_port, MemoryView memory, PortFigures figures,
              std::unique_ptr<Scheduler> scheduler, uint64_t seed, uint32_t beat_bytes, uint32_t max_burst,
              const std::array<const Port *, AXI_SIGNALS> &ports, Records &records)
        : source(source), event_port(event_port), memory(memory), figures(figures), scheduler(std::move(scheduler)),
          seed(seed), beat_bytes(beat_bytes), max_burst(max_burst), records(records) {
        for (int i = 0; i < AXI_SIGNALS; ++i)
            if (ports[i] && i != WDATA && i != WSTRB && i != RDATA) wires[i] = Wire(*ports[i]);
        if (ports[WDATA]) wdata = *ports[WDATA], wstrb = *ports[WSTRB];
        if (ports[RDATA]) rdata = *ports[RDATA];
        offered_data.resize(wdata.bytes());
        offered_strobe.resize(wstrb.bytes());
        uint32_t id_width = 1;
        for (const AxiSignal id : {AWID, ARID})
            if (ports[id]) id_width = std::max(id_width, ports[id]->width);
        id_stamp.assign(size_t{1} << id_width, 0);
        next_drive(false);
    }

    void add_fault(const Fault &fault) {
        faults.push_back(fault);
        replayable |= fault.kind == FAULT_REPLAY;
    }

    // Takes one cycle in which the port drove what drive() wrote, and the master shows what its ports hold now.
    void step() {
        const int64_t now = static_cast<int64_t>(cycle) * figures.period;
        const bool awvalid = get(AWVALID), wvalid = get(WVALID), arvalid = get(ARVALID);
        if (awvalid || offered_aw.open) check_address(offered_aw, awvalid, awready, address(AWID), AW_WITHDRAWN);
        if (wvalid || offered_w) check_data(wvalid, get(WLAST));
        if (arvalid || offered_ar.open) check_address(offered_ar, arvalid, arready, address(ARID), AR_WITHDRAWN);
        if (arvalid && arready) {
            Burst &burst = *accept(address(ARID), false);
            ++reads;
            event(EVENT_READ, burst);
            start(burst, now);
        }
        if (awvalid && awready) {
            Burst *burst = accept(address(AWID), true);
            ++writes;
            event(EVENT_WRITE, *burst);
            addresses.push_back(burst);
        }
        if (wvalid && wready) {
            Beat taken;
            if (!spare_beats.empty()) {
                taken = std::move(spare_beats.back());
                spare_beats.pop_back();
            }
            const auto *data = static_cast<const uint8_t *>(wdata.data);
            const auto *strobe = static_cast<const uint8_t *>(wstrb.data);
            taken.data.assign(data, data + wdata.bytes());
            taken.strobe.assign(strobe, strobe + wstrb.bytes());
            taken.last = get(WLAST);
            beats.push_back(std::move(taken));
        }
        match_writes(now);
        if (bvalid && get(BREADY)) {
            event(EVENT_WRITE_DONE, *answering[1]);
            spare.push_back(answering[1]);
            answering[1] = nullptr;
            --writes;
        }
        const bool taken = rvalid && get(RREADY);
        if (taken && ++beat == answering[0]->beats) {
            event(EVENT_READ_DATA, *answering[0]);
            spare.push_back(answering[0]);
            answering[0] = nullptr;
            --reads;
        }
        const bool held = rvalid && !taken;
        ++cycle;
        take_effect(static_cast<int64_t>(cycle) * figures.period);
        next_drive(held);
    }

    // Writes the design's inputs for the coming cycle.
    void drive() const {
        wires[AWREADY].set(awready);
        wires[WREADY].set(wready);
        wires[ARREADY].set(arready);
        const Burst *b = answering[1];
        wires[BVALID].set(bvalid);
        wires[BID].set(b ? b->id : 0);
        wires[BRESP].set(b ? b->resp : 0);
        const Burst *r = rvalid ? answering[0] : nullptr;
        wires[RVALID].set(rvalid);
        wires[RID].set(r ? r->id : 0);
        wires[RRESP].set(r ? r->resp : 0);
        wires[RLAST].set(r && beat == r->beats - 1);
        if (rdata.data) {
            if (r)
                rdata.put(r->data.data() + size_t{beat} * beat_bytes);
            else
                rdata.idle();
        }
    }
};
