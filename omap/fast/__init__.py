"""The maps of :mod:`omap.map` with their hot loops compiled by numba: equal to the reference byte for byte.

The reference is the law. What is compiled works on the state of the reference at the places where it lies, so that
everything else (formats, bulk loads, faults) is the reference itself. ``resident`` maps are the reference.

:func:`omap.fast.map.create` makes a map, and needs numba; :mod:`omap.fast.kept` does not.
"""
