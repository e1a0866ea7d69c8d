"""The first thing to run: a real table, three ways to query it, and what the host saw each time."""
