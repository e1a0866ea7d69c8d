// Streams of the design: producers and consumers with drawn waiting times, and the checks of docs/hardware/streams.md.
// Python form: sim/models/streams.py.
#pragma once
#include <cstring>
#include <deque>
#include <vector>

#include "design.h"
#include "draws.h"
#include "records.h"

// Waiting times of a stream: those given, one an item, then a draw each cycle.
class Waits {
    std::deque<uint32_t> given;
    uint64_t seed;
    uint32_t remaining = 0;
    bool begun = false;

  public:
    int64_t share = 0;  // of cycles to wait, in 1/65536
    explicit Waits(uint64_t seed) : seed(seed) {}
    void give(const uint32_t *waits, uint64_t count) { given.insert(given.end(), waits, waits + count); }

    // Whether to wait in the coming cycle. An item's waiting begins with the first call after done().
    bool wait(uint64_t cycle) {
        if (!begun) {
            begun = true;
            remaining = 0;
            if (!given.empty()) {
                remaining = given.front();
                given.pop_front();
            }
        }
        if (remaining) {
            --remaining;
            return true;
        }
        return share > 0 && static_cast<int64_t>(draw(seed, DRAW_STREAM, cycle) & 0xFFFF) < share;
    }

    void done() { begun = false; }
};

class Stream {
  protected:
    Port payload{};
    Wire valid, ready;
    uint32_t bytes;
    uint64_t cycle = 0;

    void note_transfer(Records &records) {
        if (timed) cycles.push_back(cycle);
        if (event_port >= 0)
            records.events.push_back({cycle, transfers, bytes, static_cast<uint16_t>(event_port), EVENT_TRANSFER, 0});
        ++transfers;
    }

  public:
    Waits waits;
    uint64_t transfers = 0;
    bool timed = true;             // whether to keep `cycles`
    int event_port = -1;           // -1: not observed
    std::vector<uint8_t> data;     // sources: items pushed, the first at `head`; sinks: items taken
    std::vector<uint64_t> cycles;  // when each item was taken

    Stream(const Port *payload_port, const Port *valid_port, const Port *ready_port, uint64_t seed)
        : valid(valid_port ? Wire(*valid_port) : Wire(1)), ready(ready_port ? Wire(*ready_port) : Wire(1)), waits(seed) {
        if (payload_port) payload = *payload_port;
        bytes = payload.bytes();
    }
    virtual ~Stream() = default;
    uint32_t item_bytes() const { return bytes; }

    // Writes the design's inputs for the coming cycle.
    virtual void drive() = 0;
    // Looks at the design's outputs at the end of the cycle.
    virtual void step(Records &records) = 0;
    virtual void probe(Design &, Records &) {}
    // The design was erased: what it offered may be gone.
    virtual void forget() {}
};

// Feeds an input stream of the design.
class Source : public Stream {
    size_t head = 0;
    uint64_t queued = 0;
    bool offering = false;

  public:
    using Stream::Stream;

    void push(const uint8_t *items, uint64_t count) {
        if (head > 1u << 20) {
            data.erase(data.begin(), data.begin() + static_cast<std::ptrdiff_t>(head));
            head = 0;
        }
        data.insert(data.end(), items, items + count * bytes);
        queued += count;
    }

    uint64_t remaining() const { return queued; }

    void drive() override {
        if (!offering && queued) offering = !waits.wait(cycle);
        valid.set(offering);
        if (!payload.data) return;
        if (offering)
            payload.put(data.data() + head);
        else
            payload.idle();
    }

    void step(Records &records) override {
        if (offering && ready.get()) {
            note_transfer(records);
            head += bytes;
            --queued;
            offering = false;
            waits.done();
        }
        ++cycle;
    }
};

// Takes from an output stream of the design, and checks its producer.
class Sink : public Stream {
    uint32_t source;
    bool taking = false, open = false;
    std::vector<uint8_t> offered, probed;

    const uint8_t *shown() const { return static_cast<const uint8_t *>(payload.data); }
    bool same(const std::vector<uint8_t> &as) const { return !bytes || !std::memcmp(shown(), as.data(), bytes); }
    void keep(std::vector<uint8_t> &in) const {
        if (bytes) std::memcpy(in.data(), shown(), bytes);
    }

  public:
    Sink(uint32_t source, const Port *payload_port, const Port *valid_port, const Port *ready_port, uint64_t seed)
        : Stream(payload_port, valid_port, ready_port, seed), source(source), offered(bytes), probed(bytes) {}

    void drive() override {
        taking = !ready || !waits.wait(cycle);
        ready.set(taking);
    }

    // Turns ready over and back: the producer must go on showing the same. The clock is low: no state changes.
    void probe(Design &design, Records &records) override {
        if (!ready) return;
        const uint64_t was_valid = valid.get();
        keep(probed);
        ready.set(!taking);
        design.eval();
        const bool differs = valid.get() != was_valid || (was_valid && !same(probed));
        ready.set(taking);
        design.eval();
        if (differs) records.breaches.push_back({cycle, source, STREAM_WAITS});
    }

    void forget() override { open = false; }

    void step(Records &records) override {
        const bool is_valid = valid.get();
        if (open && !is_valid) records.breaches.push_back({cycle, source, STREAM_WITHDRAWN});
        if (open && is_valid && !same(offered)) records.breaches.push_back({cycle, source, STREAM_CHANGED});
        open = is_valid && !taking;
        if (open) keep(offered);
        if (is_valid && taking) {
            if (bytes) data.insert(data.end(), shown(), shown() + bytes);
            note_transfer(records);
            waits.done();
        }
        ++cycle;
    }
};
