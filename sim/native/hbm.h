// When an access to HBM is done: pseudo-channels, banks with open rows, refresh. Python form: sim/models/hbm.py.
#pragma once
#include <algorithm>
#include <unordered_map>
#include <vector>

#include "draws.h"
#include "scheduler.h"

// Names of the figures after those of the port, in the order of sim.models.timing.HbmTiming.figures.
#define HBM_FIGURES \
    "hit closed conflict spacing beat refresh_every refresh channel_bytes row_bytes banks"

class HbmScheduler : public Scheduler {
    int64_t hit, closed, conflict, spacing, beat, refresh_every, refresh;
    uint64_t channel_bytes, row_bytes, banks;
    int64_t phase = 0;

    struct Channel {
        int64_t free = 0, opened, refreshed = 0;
        std::vector<int64_t> rows;  // open row of each bank, or -1
    };
    struct LastRead {
        uint64_t channel;
        int64_t answered;
    };
    std::unordered_map<uint64_t, Channel> channels;
    std::unordered_map<uint32_t, LastRead> last_reads;

    int64_t after_refresh(Channel &channel, int64_t start) const {
        if (!refresh_every || start < phase) return start;
        const int64_t number = (start - phase) / refresh_every, within = (start - phase) % refresh_every;
        if (number + 1 > channel.refreshed) {  // refreshes are numbered from 1
            channel.refreshed = number + 1;
            std::fill(channel.rows.begin(), channel.rows.end(), -1);
        }
        return within < refresh ? start - within + refresh : start;
    }

  public:
    HbmScheduler(const int64_t *f, uint64_t seed)
        : hit(f[0]), closed(f[1]), conflict(f[2]), spacing(f[3]), beat(f[4]), refresh_every(f[5]), refresh(f[6]),
          channel_bytes(f[7]), row_bytes(f[8]), banks(f[9]) {
        if (refresh_every) phase = static_cast<int64_t>(draw(seed, DRAW_REFRESH, 0) % refresh_every);
    }

    void arrive(Burst &burst, int64_t now) override {
        const uint64_t number = burst.address / channel_bytes;
        auto [found, fresh] = channels.try_emplace(number);
        Channel &channel = found->second;
        if (fresh) {
            channel.opened = -spacing;
            channel.rows.assign(banks, -1);
        }
        const uint64_t row_number = burst.address % channel_bytes / row_bytes;
        int64_t &open = channel.rows[row_number % banks];
        const int64_t row = row_number / banks;
        int64_t start = std::max(now, channel.free);
        if (!burst.write) {
            const auto last = last_reads.find(burst.id);
            if (last != last_reads.end() && last->second.channel != number)
                start = std::max(start, last->second.answered);
        }
        start = after_refresh(channel, start);
        int64_t latency = hit;
        if (open != row) {
            start = after_refresh(channel, std::max(start, channel.opened + spacing));
            latency = open >= 0 ? conflict : closed;
            channel.opened = start;
            open = row;
        }
        channel.free = start + static_cast<int64_t>((burst.length + 31) / 32) * beat;
        burst.time = start + latency;
        if (!burst.write) last_reads[burst.id] = {number, burst.time};
    }

    void answer(Burst &) override {}  // an access is answered when it takes effect
};
