// Draws of the models: the same numbers as sim/models/draws.py.
#pragma once
#include <cstdint>

enum Purpose : uint64_t {
    DRAW_AW, DRAW_W, DRAW_B, DRAW_AR, DRAW_R, DRAW_LATENCY, DRAW_REFRESH, DRAW_STREAM
};

inline uint64_t draw(uint64_t seed, uint64_t purpose, uint64_t counter) {
    uint64_t x = seed + purpose * 0xD6E8FEB86659FD93u + counter * 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}
