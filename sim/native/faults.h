// Faults of a memory port. Meaning and numbering as in sim/models/faults.py.
#pragma once
#include <cstdint>

enum FaultKind : uint64_t { FAULT_FLIP, FAULT_REPLAY, FAULT_DROP, FAULT_STALL, FAULT_ERROR, FAULT_DEAD };

struct Fault {  // the order of the array that sim.bench.compiled passes
    uint64_t kind, write, low, high, skip, count, argument;
    uint64_t seen;
};
