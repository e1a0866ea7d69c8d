"""An estimate of the clock: netlist, placement, and static timing with public delays of the family."""
