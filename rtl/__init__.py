"""The accelerator: Amaranth sources of the oblivious map, held equal to :mod:`omap`."""
