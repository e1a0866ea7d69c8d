# What the implementation needs to know of the synthesised design. Unverified with the tools.

# HBM and PCIe are in SLR0, and so is all that talks to them.
create_pblock card
resize_pblock -add SLR0 [get_pblocks card]
add_cells_to_pblock [get_pblocks card] [get_cells {@cells}]

# The clocks of PCIe and of HBM's control know nothing of each other: what crosses is one level, through synchronisers.
set_clock_groups -asynchronous -group [get_clocks -of_objects [get_pins @clock_pin]] -group [get_clocks hbm_refclk]

# The power that the card is given, in watts: beyond it the tools warn.
set_operating_conditions -design_power_budget @watts
