"""Where a client keeps what it remembers, if nobody says where."""

import stat
from pathlib import Path

import pytest

from host.client.address import Address
from host.client.settings import Settings
from host.client.state import state_folder, witness_file
from omap.credentials import Right
from omap.errors import InputError
from tests.support.host.keys import client_of

ONE, OTHER = client_of(bytes(32)), client_of(bytes(31) + b"\1")
READER = client_of(bytes(32), Right.READ)
HERE = Address("h", 1)


def test_the_folder_is_where_the_user_keeps_state(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert state_folder() == tmp_path / "state" / "omap"
    for useless in ("", "relative/path"):
        monkeypatch.setenv("XDG_STATE_HOME", useless)
        assert state_folder() == tmp_path / ".local" / "state" / "omap"
    monkeypatch.delenv("XDG_STATE_HOME")
    for nowhere in ("", "relative/path", str(tmp_path / "absent")):
        monkeypatch.setenv("HOME", nowhere)
        assert state_folder() is None
    monkeypatch.delenv("HOME")
    assert state_folder() is None
    assert Settings(where=HERE, client=ONE, witness=True).witness_file is None


def test_each_address_and_key_has_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    names = [witness_file(Address(host, 7450), ONE) for host in ("Map.example", "map.example")]
    assert names[0] == names[1]
    addresses = [
        Address("map.example", 7451),
        Address("::1", 7450),
        *(Address("", 0, f"/{a}") for a in ("x/y", "x_/y")),
    ]
    others = [witness_file(address, ONE) for address in addresses]
    others += [witness_file(Address("map.example", 7450), client) for client in (OTHER, READER)]
    assert len({*names, *others}) == 7
    for path in [*names, *others]:
        assert path.parent == tmp_path / "omap"
        assert ONE.key.hex()[:8] not in path.name
    assert stat.S_IMODE((tmp_path / "omap").stat().st_mode) == 0o700


def test_a_folder_that_can_not_be_made_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(InputError, match=r"can't be made: Not a directory; name a file of your own \(--witness FILE\)"):
        witness_file(HERE, ONE)


def test_only_true_means_a_file_of_omaps_choice(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    settings = {"where": HERE, "client": ONE}
    assert Settings(**settings).witness_file is None
    assert Settings(**settings, witness=False).witness_file is None
    assert Settings(**settings, witness="file").witness_file == Path("file")
    assert Settings(**settings, witness=True).witness_file == witness_file(HERE, ONE)
