"""Dangerous on purpose: fixed secrets and looks into the trusted state. For tests, vectors and simulation only.

``import omap`` never loads this package.
"""
