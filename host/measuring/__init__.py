"""What is timed of the host side: parts of ``python -m host.benchmark``, and ``python -m host.measuring.durable``."""
