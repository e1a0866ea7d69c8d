"""Our own end of the PCIe link: requests to host memory and answers from the registers, on the card's hard block."""
