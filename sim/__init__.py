"""Simulation: models of HBM, host memory and PCIe, benches, and what an observer of them sees."""
