"""From the rings in host memory to single commands and back: records, sessions, registers."""
