"""Simulation: compiled harness, cocotb runner, memory models, observer and stream checks."""
