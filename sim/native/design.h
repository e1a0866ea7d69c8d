// The seam between a compiled design and the harness: named ports, and one function that settles the design.
#pragma once
#include <cstdint>
#include <cstring>
#include <vector>

struct Port {
    const char *name;
    void *data;  // in Verilator's form: 1, 2, 4 or 8 bytes, or 32-bit words, lowest first
    uint32_t width;
    bool input;

    uint32_t bytes() const { return (width + 7) / 8; }

    uint32_t storage() const {
        return width <= 8 ? 1 : width <= 16 ? 2 : width <= 32 ? 4 : width <= 64 ? 8 : (width + 31) / 32 * 4;
    }

    void put(const uint8_t *from) const {  // bits beyond the width must stay zero
        auto *to = static_cast<uint8_t *>(data);
        const uint32_t n = bytes();
        std::memcpy(to, from, n);
        if (width % 8) to[n - 1] &= (1u << width % 8) - 1;
    }

    void clear() const { std::memset(data, 0, storage()); }

    // What a payload shows while it is not valid: nonsense, so that a design that looks at it fails its tests.
    void idle() const {
        std::memset(data, 0xA5, bytes());
        if (width % 8) static_cast<uint8_t *>(data)[bytes() - 1] &= (1u << width % 8) - 1;
    }
};

class Design {
  public:
    virtual ~Design() = default;
    // Settles the design after a change of its inputs.
    virtual void eval() = 0;
    // Lets the clock rise and fall. The design must have been settled.
    virtual void edge() = 0;
    std::vector<Port> ports;
};

// Exported by the library of each design; sim/bench/build.py writes its definition.
extern "C" Design *make_design();

// A port of at most 64 bits, or nothing: then it reads as a constant and ignores what is written.
class Wire {
    uint8_t *data = nullptr;
    uint32_t storage = 0;
    uint64_t constant = 0;

  public:
    Wire() = default;
    explicit Wire(uint64_t value) : constant(value) {}
    explicit Wire(const Port &port) : data(static_cast<uint8_t *>(port.data)), storage(port.storage()) {}

    uint64_t get() const {
        switch (storage) {
            case 1: return *data;
            case 2: return *reinterpret_cast<const uint16_t *>(data);
            case 4: return *reinterpret_cast<const uint32_t *>(data);
            case 8: return *reinterpret_cast<const uint64_t *>(data);
            default: return constant;
        }
    }

    void set(uint64_t value) const {
        switch (storage) {
            case 1: *data = static_cast<uint8_t>(value); break;
            case 2: *reinterpret_cast<uint16_t *>(data) = static_cast<uint16_t>(value); break;
            case 4: *reinterpret_cast<uint32_t *>(data) = static_cast<uint32_t>(value); break;
            case 8: *reinterpret_cast<uint64_t *>(data) = value; break;
            default: break;
        }
    }

    explicit operator bool() const { return storage != 0; }
};
