"""Subcommands of ``omap``, one module each, found through the entry-point group ``omap.commands``."""
