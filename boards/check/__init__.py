"""Checks of a build folder that need no vendor's tools."""
