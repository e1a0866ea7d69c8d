"""Streams and what they are made of: layouts, AXI channels, FIFOs, skid buffers, gearboxes, pickers."""
