"""The clock that all our logic runs on, on every board."""

CLOCK_MHZ = 250
"""As the memory models of simulation assume (``sim.models.timing.HostTiming``), and as the PCIe block gives it at Gen3
x16."""
