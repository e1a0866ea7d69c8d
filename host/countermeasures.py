"""What the host side does to protect keys. Each label is marked ``SEC_CM`` at its spot and has a test of its own."""

COUNTERMEASURES: dict[str, str] = {
    "KEY.FILE.OWNER": "A root key file is made and read only if its owner alone can use it, and never overwritten.",
}
"""Label to promise."""
