// A burst on its way, and what gives it its times. Times are femtoseconds. Python form: sim/models/scheduler.py.
#pragma once
#include <cstdint>
#include <vector>

struct Burst {
    bool write = false, drop = false, replay = false, done = false;
    uint32_t id = 0, beats = 0, resp = 0;
    uint64_t address = 0, length = 0, sequence = 0;
    int64_t time = 0, stall = 0;
    std::vector<uint8_t> data;
    std::vector<uint8_t> strobe;  // one byte a byte of data
    std::vector<uint64_t> flip;   // bits to invert

    void clear() {
        drop = replay = done = false;
        time = stall = 0;
        data.clear();
        strobe.clear();
        flip.clear();
    }
};

struct PortFigures {  // sim.models.timing.PortTiming.port_figures, in its order
    int64_t period, reads, writes, ids, ready_withheld, valid_withheld;
};
constexpr int PORT_FIGURES = 6;

class Scheduler {
  public:
    virtual ~Scheduler() = default;
    // Sets burst.time to when the access takes effect in memory, later than `now`.
    virtual void arrive(Burst &burst, int64_t now) = 0;
    // Sets burst.time to when the answer is there; called in the order in which accesses take effect.
    virtual void answer(Burst &burst) = 0;
    // Whether answers under different IDs keep the order asked.
    virtual bool order_all() const { return false; }
};
