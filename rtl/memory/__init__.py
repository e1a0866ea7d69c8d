"""Ways to memory: ports on HBM and on host memory, structures spread over channels, lines kept on chip."""
