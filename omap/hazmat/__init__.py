"""Dangerous tools for tests, test vectors and simulation: fixed secrets, and access to the trusted state.

``import omap`` never loads this package.
"""
