"""The Alveo U55C without a shell: HBM is wired to the engine alone."""
