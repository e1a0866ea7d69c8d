"""Ciphers, hashes and key derivation: each block equals a function of :mod:`omap` or a published standard."""
