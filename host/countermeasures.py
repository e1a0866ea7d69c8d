"""What the host side does to protect keys. Each label is marked ``SEC_CM`` at its spot and has a test of its own."""

COUNTERMEASURES: dict[str, str] = {
    "KEY.FILE.OWNER": "A root key file is made and read only if its owner alone can use it, and never overwritten.",
    "CLIENT.MAP.REMEMBERED": "A client refuses a map with another id than the one it, or its witness file, knows.",
    "CLIENT.OPERATION.RISES": "Operation numbers rise from answer to answer, or the client reports a rollback.",
    "CLIENT.REFUSAL.DOUBTED": "A refusal proves nothing: the client reports an unknown fate, not that nothing ran.",
    "CLIENT.FAULT.LATCH": "After tampering a client hangs up and refuses all further work.",
    "CLIENT.RATE.CONSTANT": "At a constant rate as many records leave as the clock says, whatever there is to do.",
}
"""Label to promise."""
