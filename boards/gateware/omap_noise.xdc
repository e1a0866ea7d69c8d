# The rings of omap_noise.v: loops that are meant, and samples of them that keep to no clock.
set_property ALLOW_COMBINATORIAL_LOOPS TRUE [get_nets -hierarchical -filter {NAME =~ *rings*.ring*}]
set_false_path -to [get_cells -hierarchical -filter {NAME =~ *rings*.first_reg}]
