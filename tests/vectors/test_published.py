"""The published vectors hold in `cryptography` and in the reference: none was mistyped."""

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.kbkdf import KBKDFCMAC, CounterLocation, Mode

from omap.ghash import ghash
from omap.kdf import cmac
from omap.siphash import siphash24

FOLDER = Path(__file__).parent / "published"


def load(name):
    return json.loads((FOLDER / name).read_text())


def encrypt(key, block):
    return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(block)


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.json")))
def test_every_file_names_its_origin(name):
    assert load(name)["origin"]


@pytest.mark.parametrize("test", load("aes.json")["tests"], ids=lambda test: test["origin"])
def test_aes(test):
    assert encrypt(bytes.fromhex(test["key"]), bytes.fromhex(test["plain"])).hex() == test["cipher"]


@pytest.mark.parametrize("name", ["gcm.json", "wycheproof_aes_gcm.json"])
def test_gcm(name):
    verdicts = set()
    for test in load(name)["tests"]:
        key, iv, aad, msg, ct, tag = (bytes.fromhex(test[field]) for field in ("key", "iv", "aad", "msg", "ct", "tag"))
        assert len(iv) == 12
        assert len(tag) == 16
        assert len(msg) % 16 == 0
        assert len(aad) <= 16
        if test.get("result", "valid") == "valid":
            assert AESGCM(key).encrypt(iv, msg, aad) == ct + tag
            mask = encrypt(key, iv + bytes([0, 0, 0, 1]))
            digest = ghash(encrypt(key, bytes(16)), aad, ct)
            assert bytes(a ^ b for a, b in zip(digest, mask, strict=True)) == tag
        else:
            assert AESGCM(key).encrypt(iv, msg, aad)[:-16] == ct
            with pytest.raises(InvalidTag):
                AESGCM(key).decrypt(iv, ct + tag, aad)
        verdicts.add(test.get("result", "valid"))
    assert name == "gcm.json" or verdicts == {"valid", "invalid"}


@pytest.mark.parametrize("test", load("cmac.json")["tests"], ids=lambda test: f"{len(test['msg']) // 2} bytes")
def test_cmac(test):
    assert cmac(bytes.fromhex(test["key"]), bytes.fromhex(test["msg"])).hex() == test["tag"]


def test_kdf():
    for test in load("kdf.json")["tests"]:
        derivation = KBKDFCMAC(
            algorithm=algorithms.AES,
            mode=Mode.CounterMode,
            length=len(test["output"]) // 2,
            rlen=4,
            llen=None,
            location=CounterLocation.BeforeFixed,
            label=None,
            context=None,
            fixed=bytes.fromhex(test["fixed"]),
        )
        assert derivation.derive(bytes.fromhex(test["key"])).hex() == test["output"]


def test_siphash():
    vectors = load("siphash.json")
    assert len(vectors["hashes"]) == 64
    for length, expected in enumerate(vectors["hashes"]):
        assert siphash24(bytes.fromhex(vectors["key"]), bytes(range(length))).to_bytes(8, "little").hex() == expected
