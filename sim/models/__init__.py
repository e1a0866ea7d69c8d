"""Models of HBM, of host memory over PCIe and of streams, with their timing, faults and observer."""
