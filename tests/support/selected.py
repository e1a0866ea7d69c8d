"""Which tests this run of pytest has selected; ``tests/conftest.py`` says so here."""

LONG = False
"""Whether long tests are among them."""
