"""What protects the map, by name. Each label is marked ``SEC_CM`` at its spot in the code and has a test of its own."""

COUNTERMEASURES: dict[str, str] = {
    "PAGE.ADDR.FRESH": "A key that stays live is placed on fresh random bins at every access, reads included.",
    "PAGE.MISS.DUMMY": "An operation that finds no key touches random bins drawn for it; nothing follows from the key.",
    "PAGE.TOUCH.ALWAYS": "A page is read and written on every touch, even if the tuple sought waits in HBM.",
    "BINS.BOTH.TOUCHED": "two_choice touches both bins of a pair, in the order of their draw, wherever the key is.",
    "PAGE.MEM.ENCRYPT": "Whatever reaches host memory is sealed with AES-256-GCM.",
    "PAGE.NONCE.UNIQUE": "Page index, boot counter and version make every nonce unique under a page key.",
    "PAGE.VERSION.FRESH": "The version of a page comes from HBM, so that an earlier or exchanged page is refused.",
    "POSMAP.WORK.FIXED": "The number of position map accesses is the same for every operation.",
    "FAULT.KEY.ERASE": "A fault erases all keys and the contents of HBM; the map refuses further work.",
    "ERROR.TEXT.CLEAN": "No error text or representation holds a key, a value or a secret.",
}
"""Label to promise."""
