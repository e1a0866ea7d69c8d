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
    "SIPHASH.KEY.ERASE": "`erase` clears the hash key and everything computed with it.",
    "SIPHASH.KEY.UNREADABLE": "The hash output is zero unless it carries the hash of a message.",
    "SIPHASH.TIME.CONST": "Every hash takes the same number of cycles.",
    "DRBG.SEED.ERASE": "`erase` clears the seed, the engines and draws not yet taken.",
    "DRBG.SEED.UNREADABLE": "Nothing is drawn unasked, and the output is zero while nothing is on offer.",
    "DRBG.TIME.CONST": "Latency and rate of the draws do not depend on seed, index or result.",
    "CMAC.KEY.ERASE": "`erase` clears key, subkeys and chaining value.",
    "CMAC.KEY.UNREADABLE": "The tag output is zero unless it carries the tag of a whole message.",
    "CMAC.TIME.CONST": "Times depend on the number of blocks alone.",
    "KDF.KEY.ERASE": "`erase` clears both keys, and so does the end of every derivation.",
    "KDF.KEY.UNREADABLE": "The output is zero unless it offers a whole derived key.",
    "KDF.TIME.CONST": "Every derivation takes the same number of cycles.",
    "GCM.KEY.PRESENT": "Without a key there is no keystream: nothing is sealed under an erased or half-loaded key.",
    "GCM.KEY.UNREADABLE": "No output depends on a key before a message was sealed or opened under it.",
    "GCM.TEXT.VERIFIED": "No bit that depends on plaintext leaves before the tag of its message was found right.",
    "GCM.TEXT.ZERO_ON_FAULT": "A message with a wrong tag comes out as zeros, and nothing comes after it.",
    "GCM.FAULT.KEY_ERASE": "A wrong tag erases all keys of the block.",
    "GCM.KEY.ERASE": "`erase` overwrites all keys, hash keys and their powers, and drops all messages.",
    "GCM.TIME.CONST": "All times depend on the handshakes alone, not on data, keys or verdicts.",
    "POSMAP.KEY.ERASE": "`erase` clears the hash key and every register with keys or pages; memory can't be reached.",
    "POSMAP.KEY.UNREADABLE": "Nothing shows while no operation is under way, and an answer not on offer is zero.",
    "POSMAP.LOOKUP.CONST_TIME": "Every operation uses a line of each table, at a turn that depends on arrivals alone.",
}
