// Runs a compiled design with its streams and memory models, many cycles a call. Driven by sim/bench/compiled.py.
#include <memory>
#include <string>
#include <vector>

#include "axi_memory.h"
#include "design.h"
#include "hbm.h"
#include "host_memory.h"
#include "records.h"
#include "streams.h"

namespace {

struct Watch {  // an output port whose changes are events
    const Port *port;
    int event_port;
    std::vector<uint8_t> last;
};

struct Target {  // what a run waits for: transfers of a stream, or a value of a port
    const Stream *stream;
    Wire port;
    uint64_t value;
};

struct Harness {
    std::unique_ptr<Design> design;
    Wire rst, erase;
    Records records;
    std::vector<std::unique_ptr<Stream>> streams;
    std::vector<Source *> sources;
    std::vector<Sink *> sinks;
    std::vector<std::unique_ptr<AxiMemory>> memories;
    std::vector<Watch> watches;
    std::vector<Target> targets;
    uint64_t cycle = 0;
    uint32_t models = 0;      // memories and sinks, numbered in the order of their creation
    uint32_t probe_every = 0;
    bool stopped = false;  // whether the last run met its targets

    explicit Harness(Design *made) : design(made) {
        for (const Port &port : design->ports) {
            if (port.input) port.clear();
            if (port.name == std::string("rst")) rst = Wire(port);
            if (port.name == std::string("erase") && port.input) erase = Wire(port);
        }
    }

    const Port *port(int64_t index) const { return index < 0 ? nullptr : &design->ports[static_cast<size_t>(index)]; }

    void reset(uint64_t cycles) {
        rst.set(1);
        for (uint64_t i = 0; i < cycles; ++i) {
            design->eval();
            design->edge();
        }
        rst.set(0);
    }

    bool reached() const {
        for (const Target &target : targets)
            if (target.stream ? target.stream->transfers < target.value : target.port.get() != target.value) return false;
        return !targets.empty();
    }

    void watch(Watch &w) {
        const uint32_t n = w.port->bytes();
        const auto *now = static_cast<const uint8_t *>(w.port->data);
        if (!std::memcmp(w.last.data(), now, n)) return;
        w.last.assign(now, now + n);
        uint64_t low = 0;
        std::memcpy(&low, now, std::min<uint32_t>(n, 8));
        records.events.push_back({cycle, low, n, static_cast<uint16_t>(w.event_port), EVENT_CHANGE, 0});
    }

    uint64_t run(uint64_t cycles) {
        uint64_t done = 0;
        stopped = false;
        while (!stopped && done < cycles && records.breaches.empty()) {
            for (auto &stream : streams) stream->drive();
            for (auto &memory : memories) memory->drive();
            design->eval();
            if (probe_every && cycle % probe_every == 0)
                for (Sink *sink : sinks) sink->probe(*design, records);
            for (auto &memory : memories) memory->step();
            for (auto &stream : streams) stream->step(records);
            if (erase.get())
                for (Sink *sink : sinks) sink->forget();
            for (Watch &w : watches) watch(w);
            stopped = reached();
            design->edge();
            ++cycle;
            ++done;
        }
        return done;
    }
};

Harness &of(void *harness) { return *static_cast<Harness *>(harness); }

template <typename T> uint64_t drain(std::vector<T> &from, T *to, uint64_t limit) {
    const uint64_t count = std::min<uint64_t>(limit, from.size());
    if (count) std::memcpy(to, from.data(), count * sizeof(T));
    from.erase(from.begin(), from.begin() + static_cast<std::ptrdiff_t>(count));
    return count;
}

}  // namespace

extern "C" {

// `make` is the address of a design's make_design().
void *sim_new(void *make) { return new Harness(reinterpret_cast<Design *(*)()>(make)()); }
void sim_free(void *h) { delete &of(h); }
void sim_reset(void *h, uint64_t cycles) { of(h).reset(cycles); }
uint64_t sim_run(void *h, uint64_t cycles) { return of(h).run(cycles); }
int sim_stopped(void *h) { return of(h).stopped; }
uint64_t sim_cycle(void *h) { return of(h).cycle; }
void sim_probe(void *h, uint32_t every) { of(h).probe_every = every; }
const char *sim_hbm_figures() { return HBM_FIGURES; }
const char *sim_host_figures() { return HOST_FIGURES; }

int64_t sim_port(void *h, const char *name) {
    const auto &ports = of(h).design->ports;
    for (size_t i = 0; i < ports.size(); ++i)
        if (ports[i].name == std::string(name)) return static_cast<int64_t>(i);
    return -1;
}

void sim_set(void *h, int64_t port, const uint8_t *value) { of(h).port(port)->put(value); }

// Settles the design first, so that what was set shows.
void sim_get(void *h, int64_t port, uint8_t *value) {
    const Port &p = *of(h).port(port);
    of(h).design->eval();
    std::memcpy(value, p.data, p.bytes());
}

void sim_watch(void *h, int64_t port, int event_port) {
    const Port *p = of(h).port(port);
    of(h).watches.push_back({p, event_port, std::vector<uint8_t>(p->bytes())});
}

int64_t sim_stream(void *h, int input, int64_t payload, int64_t valid, int64_t ready, uint64_t seed) {
    Harness &s = of(h);
    if (input) {
        auto source = std::make_unique<Source>(s.port(payload), s.port(valid), s.port(ready), seed);
        s.sources.push_back(source.get());
        s.streams.push_back(std::move(source));
    } else {
        auto sink = std::make_unique<Sink>(s.models++, s.port(payload), s.port(valid), s.port(ready), seed);
        s.sinks.push_back(sink.get());
        s.streams.push_back(std::move(sink));
    }
    return static_cast<int64_t>(s.streams.size()) - 1;
}

void sim_stream_observe(void *h, int64_t stream, int event_port) { of(h).streams[stream]->event_port = event_port; }
void sim_stream_share(void *h, int64_t stream, int64_t share) { of(h).streams[stream]->waits.share = share; }
uint64_t sim_stream_transfers(void *h, int64_t stream) { return of(h).streams[stream]->transfers; }

void sim_stream_waits(void *h, int64_t stream, const uint32_t *waits, uint64_t count) {
    of(h).streams[stream]->waits.give(waits, count);
}

void sim_stream_push(void *h, int64_t stream, const uint8_t *items, uint64_t count) {
    static_cast<Source &>(*of(h).streams[stream]).push(items, count);
}

uint64_t sim_stream_remaining(void *h, int64_t stream) {
    return static_cast<Source &>(*of(h).streams[stream]).remaining();
}

uint64_t sim_stream_take(void *h, int64_t stream, uint8_t *items, uint64_t limit) {
    Stream &s = *of(h).streams[stream];
    if (!s.item_bytes()) return 0;
    return drain(s.data, items, limit * s.item_bytes()) / s.item_bytes();
}

void sim_stream_untimed(void *h, int64_t stream) {
    of(h).streams[stream]->timed = false;
    of(h).streams[stream]->cycles.clear();
}

uint64_t sim_stream_cycles(void *h, int64_t stream, uint64_t *cycles, uint64_t limit) {
    return drain(of(h).streams[stream]->cycles, cycles, limit);
}

// `ports` has one index for each AXI signal, -1 for those the port does not have.
int64_t sim_memory(void *h, int hbm, int event_port, uint8_t *data, uint64_t base, uint64_t size, const int64_t *figures,
                   uint64_t seed, uint32_t beat_bytes, uint32_t max_burst, const int64_t *ports) {
    Harness &s = of(h);
    std::array<const Port *, AXI_SIGNALS> found{};
    for (int i = 0; i < AXI_SIGNALS; ++i) found[i] = s.port(ports[i]);
    PortFigures port{};
    static_assert(sizeof(port) == PORT_FIGURES * sizeof(int64_t), "one number after the other");
    std::memcpy(&port, figures, sizeof(port));
    std::unique_ptr<Scheduler> scheduler;
    if (hbm)
        scheduler = std::make_unique<HbmScheduler>(figures + PORT_FIGURES, seed);
    else
        scheduler = std::make_unique<HostScheduler>(figures + PORT_FIGURES, seed);
    s.memories.push_back(std::make_unique<AxiMemory>(s.models++, event_port, MemoryView{data, base, size}, port,
                                                     std::move(scheduler), seed, beat_bytes, max_burst, found,
                                                     s.records));
    return static_cast<int64_t>(s.memories.size()) - 1;
}

void sim_fault(void *h, int64_t memory, const uint64_t *f) {
    of(h).memories[memory]->add_fault({f[0], f[1], f[2], f[3], f[4], f[5], f[6], 0});
}

void sim_clear_targets(void *h) { of(h).targets.clear(); }

void sim_target_stream(void *h, int64_t stream, uint64_t transfers) {
    of(h).targets.push_back({of(h).streams[stream].get(), Wire(), transfers});
}

void sim_target_port(void *h, int64_t port, uint64_t value) {
    of(h).targets.push_back({nullptr, Wire(*of(h).port(port)), value});
}

uint64_t sim_event_count(void *h) { return of(h).records.events.size(); }
uint64_t sim_events(void *h, Event *events, uint64_t limit) { return drain(of(h).records.events, events, limit); }
uint64_t sim_breaches(void *h, Breach *breaches, uint64_t limit) { return drain(of(h).records.breaches, breaches, limit); }

}  // extern "C"
