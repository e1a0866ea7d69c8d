"""Countermeasures of the accelerator: label and what it promises.

Each label stands at its spot in the sources as ``# SEC_CM: LABEL -- why``, and a test marked with it fails when the
countermeasure is taken out.
"""

COUNTERMEASURES = {
    "AES.KEY.ERASE": "`erase` overwrites every round key, the key expander and all blocks under way with zeros.",
    "AES.KEY.UNREADABLE": "No output carries or depends on key material until a block is encrypted under it.",
    "AES.TIME.CONST": "The cycle in which a block or a key is done depends on when it came alone, not on its bits.",
    "GHASH.KEY.ERASE": "`erase` overwrites hash keys, their powers and the shares of the additional data with zeros.",
    "GHASH.KEY.UNREADABLE": "The digest output is zero unless it carries the digest of a whole message.",
    "GHASH.TIME.CONST": "The cycle in which a digest or a key is done depends on when it came alone, not on its bits.",
}
