"""Parts of ``python -m host.benchmark``: what is timed, where, and how it is told."""
