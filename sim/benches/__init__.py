"""Designs that exercise the models, and cocotb benches."""
