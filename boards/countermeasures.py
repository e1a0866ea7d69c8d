"""Countermeasures of the boards: label and what it promises; see :mod:`rtl.countermeasures`."""

COUNTERMEASURES = {
    "HBM.START.CLEARED": "The engine reaches HBM only when every byte of its channels was overwritten with zeros.",
    "ENTROPY.HEALTH.TESTED": "No random word is given before the noise was tested, and none once a test failed.",
}
