// What the harness reports: events and broken rules. Numbering as in sim/models/observer.py and sim/models/protocol.py.
#pragma once
#include <cstdint>
#include <vector>

enum EventKind : uint8_t {
    EVENT_READ, EVENT_WRITE, EVENT_WRITE_DATA, EVENT_READ_DATA, EVENT_WRITE_DONE, EVENT_TRANSFER, EVENT_CHANGE
};

struct Event {  // sim.models.observer.EVENT
    uint64_t cycle;
    uint64_t address;
    uint32_t length;
    uint16_t port;
    uint8_t kind;
    uint8_t pad;
};
static_assert(sizeof(Event) == 24, "the layout of sim.models.observer.EVENT");

enum Rule : uint32_t {
    AW_WITHDRAWN, AW_CHANGED, W_WITHDRAWN, W_CHANGED, AR_WITHDRAWN, AR_CHANGED,
    BURST_KIND, BURST_NARROW, BURST_LENGTH, BURST_CROSSES_4K, BURST_UNALIGNED,
    ADDRESS_RANGE, ID_RANGE, LAST_EARLY, LAST_MISSING,
    STREAM_WITHDRAWN, STREAM_CHANGED, STREAM_WAITS
};

struct Breach {  // sim.bench.compiled.BREACH
    uint64_t cycle;
    uint32_t source;  // number of the model or stream, in the order of their creation
    uint32_t rule;
};

struct Records {
    std::vector<Event> events;
    std::vector<Breach> breaches;
};
