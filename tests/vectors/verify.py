"""Check the transcripts without any code of the map: lists, a dict, and AES from ``cryptography``.

Run ``python tests/vectors/verify.py [FILE ...]``; exits 1 at the first file that disagrees.
"""

import hashlib
import json
import sys
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.cmac import CMAC


class Bins:
    """Pages as lists of slots, waiting tuples as lists, positions in a dict."""

    def __init__(self, parameters, secrets):
        self.p = parameters
        self.two = parameters["rule"] == "two_choice"
        self.hbm = parameters["hbm_bins"]
        self.count = self.hbm + parameters["pages"]
        self.tuple_bytes = parameters["key_bytes"] + parameters["value_bytes"]
        slots = (parameters["page_bytes"] - 16) // self.tuple_bytes
        self.slots = [[] if number < self.hbm else [None] * slots for number in range(self.count)]
        self.waiting = [[] for _ in range(self.count)]
        self.versions = [0] * self.count
        self.where = {}
        self.secrets = {name: bytes.fromhex(text) for name, text in secrets.items()}
        self.aes = Cipher(algorithms.AES256(self.secrets["draw_seed"]), modes.ECB()).encryptor()

    def words(self, index):
        block = self.aes.update(index.to_bytes(16, "big"))
        return int.from_bytes(block[:8], "big"), int.from_bytes(block[8:], "big")

    def draw(self, index):
        """Return the dummy bins and the fresh bins of operation ``index``."""
        if not self.two:
            return [[word * self.count >> 64] for word in self.words(index)]
        pairs = []
        for one, other in (self.words(2 * index), self.words(2 * index + 1)):
            first, second = one * self.count >> 64, other * (self.count - 1) >> 64
            pairs.append([first, second + 1 if second >= first else second])
        return pairs

    def load(self, number):
        return len(self.waiting[number]) + sum(entry is not None for entry in self.slots[number])

    def run(self, index, kind, key, value):
        dummy, fresh = self.draw(index)
        live = kind != "NOP" and key in self.where
        bins = self.where[key] if live else dummy
        previous = None
        for number in bins:
            places = self.slots[number]
            if live:
                for at, entry in enumerate(places):
                    if entry and entry[0] == key:
                        previous, places[at] = entry[1], None
                for entry in [entry for entry in self.waiting[number] if entry[0] == key]:
                    previous = entry[1]
                    self.waiting[number].remove(entry)
            while self.waiting[number] and None in places:
                places[places.index(None)] = self.waiting[number].pop(0)
            assert (index + 1 >> self.p["epoch_bits"]) - (self.versions[number] >> self.p["epoch_bits"]) in (0, 1)
            self.versions[number] = index + 1
        status = "OK" if live or kind == "NOP" else "NOT_FOUND"
        stays = live and kind in ("GET", "PUT")
        if kind == "PUT" and not live:
            stays = len(self.where) < self.p["capacity"]
            status = "OK" if stays else "FULL"
        self.where.pop(key, None) if live else None
        if stays:
            self.where[key] = fresh
            target = min(fresh, key=self.load)  # the first of equals
            self.waiting[target].append((key, value if kind == "PUT" else previous))
        return status, previous, [number - self.hbm for number in bins if number >= self.hbm]

    def page_key(self, version):
        """Return the key of the version's epoch: two blocks of the counter-mode KDF, written out."""
        context = self.secrets["map_id"] + (version >> self.p["epoch_bits"]).to_bytes(8, "big")
        key = b""
        for block in (1, 2):
            mac = CMAC(algorithms.AES256(self.secrets["page_secret"]))
            mac.update(block.to_bytes(4, "big") + b"omap page 2" + b"\0" + context + (256).to_bytes(4, "big"))
            key += mac.finalize()
        return key

    def host_memory(self):
        memory = b""
        for number in range(self.hbm, self.count):
            page = number - self.hbm
            plain = b"".join(entry[0] + entry[1] if entry else bytes(self.tuple_bytes) for entry in self.slots[number])
            version = self.versions[number]
            padded = plain.ljust(self.p["page_bytes"] - 16, b"\0")
            nonce = page.to_bytes(4, "big") + version.to_bytes(8, "big")
            memory += AESGCM(self.page_key(version)).encrypt(nonce, padded, self.secrets["map_id"])
        return memory


def verify(path):
    """Raise AssertionError, naming the operation, where the file and this model disagree."""
    case = json.loads(path.read_text())
    bins = Bins(case["parameters"], case["secrets"])
    canonical = json.dumps(case["parameters"], sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(canonical).hexdigest() == case["parameters_digest"], f"{path.name}: digest"
    rows = zip(case["operations"], case["responses"], case["pages"], strict=True)
    for index, ((kind, key, value), (status, previous), pages) in enumerate(rows):
        got = bins.run(index, kind, bytes.fromhex(key), bytes.fromhex(value))
        want = status, None if previous is None else bytes.fromhex(previous), pages
        assert got == want, f"{path.name}: operation {index}: {got} is not {want}"
    assert hashlib.sha256(bins.host_memory()).hexdigest() == case["host_sha256"], f"{path.name}: host memory"


if __name__ == "__main__":
    here = Path(__file__).parent
    for file in [Path(name) for name in sys.argv[1:]] or sorted(here.glob("*_choice_*.json")):
        verify(file)
        print(f"{file.name}: agrees")
