"""What is measured in simulation: cycles, latency, the time line of an operation, waits between pages, simulators."""
