"""Subcommands of ``omap`` that need a host: one module each, found through the entry-point group ``omap.commands``."""
