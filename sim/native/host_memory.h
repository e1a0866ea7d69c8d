// When an access to host memory over PCIe is done: link, latency, packets. Python form: sim/models/host_memory.py.
#pragma once
#include <algorithm>
#include <vector>

#include "draws.h"
#include "scheduler.h"

// Names of the figures after those of the port, in the order of sim.models.timing.HostTiming.figures; the points follow.
#define HOST_FIGURES "write byte request_bytes write_bytes completion_bytes packet_bytes reorder gather points"

class HostScheduler : public Scheduler {
    int64_t write, byte, request_bytes, write_bytes, completion_bytes, packet_bytes, gather;
    bool reorder;
    struct Point {
        int64_t probability, latency;
    };
    std::vector<Point> points;
    uint64_t seed, reads = 0;
    int64_t up_free = 0, down_free = 0;

    int64_t packets(const Burst &burst) const {
        return (static_cast<int64_t>(burst.length) + packet_bytes - 1) / packet_bytes;
    }

    int64_t latency() {
        const int64_t at = static_cast<int64_t>(draw(seed, DRAW_LATENCY, reads++) >> 32);
        size_t next = 1;
        while (at >= points[next].probability) ++next;  // the last point has probability 1
        const Point &a = points[next - 1], &b = points[next];
        const __int128 part = static_cast<__int128>(b.latency - a.latency) * (at - a.probability);
        return a.latency + static_cast<int64_t>(part / (b.probability - a.probability));
    }

  public:
    HostScheduler(const int64_t *f, uint64_t seed)
        : write(f[0]), byte(f[1]), request_bytes(f[2]), write_bytes(f[3]), completion_bytes(f[4]), packet_bytes(f[5]),
          gather(f[7]), reorder(f[6]), seed(seed) {
        for (int64_t i = 0; i < f[8]; ++i) points.push_back({f[9 + 2 * i], f[10 + 2 * i]});
    }

    void arrive(Burst &burst, int64_t now) override {
        const int64_t start = std::max(now, up_free);
        if (burst.write) {
            up_free = start + (static_cast<int64_t>(burst.length) + packets(burst) * write_bytes) * byte;
            burst.time = up_free + write;
        } else {
            up_free = start + request_bytes * byte;
            burst.time = start + latency();
            if (gather) burst.time = (burst.time + gather - 1) / gather * gather;
        }
    }

    void answer(Burst &burst) override {
        if (burst.write) return;
        const int64_t takes = (static_cast<int64_t>(burst.length) + packets(burst) * completion_bytes) * byte;
        burst.time = down_free = std::max(burst.time, down_free + takes);
    }

    bool order_all() const override { return !reorder; }
};
