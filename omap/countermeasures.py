"""The countermeasures of the map, by label. Each is marked ``SEC_CM`` where the code does it, and has its own test."""

COUNTERMEASURES: dict[str, str] = {
    "PAGE.ADDR.FRESH": "A key that stays live gets fresh random bins at every operation, reads included.",
    "PAGE.MISS.DUMMY": "An operation that finds no key touches random bins drawn for it; no page follows from the key.",
    "PAGE.TOUCH.ALWAYS": "A page is read and written at every touch, even if the tuple waits in HBM.",
    "BINS.BOTH.TOUCHED": "two_choice touches both bins of a pair, in the order of their draw, wherever the key is.",
    "PAGE.MEM.ENCRYPT": "Whatever reaches host memory is sealed with AES-256-GCM.",
    "PAGE.NONCE.UNIQUE": "Page index and version make every nonce unique under a page key.",
    "PAGE.KEY.EPOCH": "Each epoch of operations has a page key of its own, so that no key encrypts too many blocks.",
    "PAGE.VERSION.FRESH": "The version of a page comes from HBM, so that an earlier or exchanged page is refused.",
    "POSMAP.WORK.FIXED": "The number of position map accesses is the same for every operation.",
    "FAULT.KEY.ERASE": "A fault erases all keys and the contents of HBM; the map refuses further work.",
    "FRESH.VALUE.KEYED": "Secrets of a format and nonces are derived under the root key, and are not the noise itself.",
    "FRESH.VALUE.UNIQUE": "Device id and a counter are in every fresh value: noise that stands still repeats none.",
    "COMMAND.OP.UNIFORM": "Kind, key and value of a command are sealed in records of one size.",
    "RECORD.NONCE.UNIQUE": "Direction and sequence number make every nonce unique under a session's key.",
    "RECORD.SEQ.STRICT": "A record is accepted once, in its turn, with none missing before it.",
    "SESSION.KEY.CONFIRM": "Both ends prove that they hold the root key before a command is sent or run.",
    "SESSION.OLD.FENCED": "A new session closes the one that it replaces, whose delayed commands then never run.",
    "SESSION.TAMPER.ENDS": "A record that was altered or is out of its turn ends its session, and harms no other.",
    "SESSION.FORMAT.ENDS": "A format closes all sessions, so that an emptied map is never taken for the old one.",
    "DEVICE.FAULT.LATCH": "After tampering with a page the device erases its keys, stops and says so in a register.",
    "ERROR.TEXT.CLEAN": "No error text or representation holds a key, a value or a secret.",
}
"""Promise of each countermeasure, by its label."""
