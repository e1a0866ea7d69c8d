"""Benches: a design in a simulator, with the models on its ports."""
