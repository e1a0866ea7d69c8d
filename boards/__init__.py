"""Board targets: tops, constraints and build scripts."""
