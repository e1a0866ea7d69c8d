"""Key files and `omap provision`: each kind is taken where it is wanted alone, and damaged files are refused."""

import json
import stat

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from host.keyfile import read_client_file, read_root_file, write_client_file, write_root_file
from omap.cli import main
from omap.credentials import Credential, Right, provision
from omap.errors import InputError
from tests.support.host.keys import client_of, root_file

KEY = bytes(range(32))

credentials = st.builds(
    Credential,
    st.sampled_from([Right.READ, Right.WRITE, Right.READ | Right.WRITE]),
    st.binary(max_size=8),
    st.binary(max_size=22).filter(lambda name: not name.endswith(b"\0")),
)


@given(root=st.binary(min_size=32, max_size=32), credential=credentials)
def test_a_client_file_gives_back_what_was_written(tmp_path_factory, root, credential):
    path = tmp_path_factory.mktemp("keys") / "client.key"
    client = provision(root, credential)
    write_client_file(path, client)
    assert read_client_file(path) == client
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert root.hex() not in path.read_text()


def test_a_root_file_gives_back_what_was_written(tmp_path):
    key = write_root_file(tmp_path / "root.key")
    assert read_root_file(tmp_path / "root.key") == key
    assert write_root_file(tmp_path / "another.key") != key


def test_each_kind_is_refused_where_the_other_is_wanted(tmp_path):
    root, client = root_file(tmp_path / "root.key", KEY), tmp_path / "client.key"
    write_client_file(client, client_of(KEY))
    with pytest.raises(InputError, match=r"client.key holds the key of a client, and a root key is wanted here: "):
        read_root_file(client)
    with pytest.raises(InputError, match=r"root.key holds a root key, and the key of a client is wanted here: "):
        read_client_file(root)


@pytest.mark.sec_cm("KEY.FILE.OWNER")
@pytest.mark.parametrize("kind", ["root", "client"])
def test_a_file_that_others_can_use_is_refused_and_none_is_replaced(tmp_path, kind):
    path = root_file(tmp_path / "key", KEY)
    if kind == "client":
        path.unlink()
        write_client_file(path, client_of(KEY))
    read, again = {
        "root": (read_root_file, write_root_file),
        "client": (read_client_file, lambda path: write_client_file(path, client_of(KEY))),
    }[kind]
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists and may hold the only copy of a key"):
        again(path)
    assert path.read_bytes() == before
    read(path)
    for mode in (0o640, 0o604, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(InputError, match=f"has mode {mode:04o}, so that others can use it: chmod 600"):
            read(path)
    path.chmod(0o400)
    read(path)


def test_a_place_that_can_not_be_used_is_named(tmp_path):
    for write in (write_root_file, lambda path: write_client_file(path, client_of(KEY))):
        with pytest.raises(InputError, match="can't be written: No such file"):
            write(tmp_path / "none" / "key")
    for read in (read_root_file, read_client_file):
        with pytest.raises(InputError, match="can't be read: Is a directory"):
            read(tmp_path)


def damages(text):
    """Return files that are not quite one, each without a line, cut short, or with other digits."""
    lines = text.splitlines(keepends=True)
    found = ["".join(lines[:at] + lines[at + 1 :]) for at in range(len(lines))]
    found += [text[:-4], text.replace("key ", "kay "), text + "key " + "00" * 31 + "\n", text[:-2] + "x\n"]
    return [*found, "", "\xff" * 40, "ab" * 32]


@pytest.mark.parametrize("kind", ["root", "client"])
def test_a_damaged_file_is_one_sentence_that_shows_nothing(tmp_path, kind):
    path = root_file(tmp_path / "key", KEY)
    read = read_root_file
    if kind == "client":
        path.unlink()
        write_client_file(path, client_of(KEY))
        read = read_client_file
    text = path.read_text()
    for damaged in damages(text):
        path.write_text(damaged)
        with pytest.raises(InputError, match="does not hold") as refused:
            read(path)
        assert not any(len(word) >= 32 and word in str(refused.value) for word in damaged.split())
    path.write_text(text)
    read(path)


@pytest.mark.parametrize("packed", [b"\4" + bytes(31), bytes(32), b"\1\x09" + bytes(30), b"\1\1ab" + bytes(28)])
def test_a_credential_that_no_client_has_is_refused(tmp_path, packed):
    path = tmp_path / "client.key"
    write_client_file(path, client_of(KEY))
    path.write_text(path.read_text().replace(client_of(KEY).credential.pack().hex(), packed.hex()))
    with pytest.raises(InputError, match=r"client.key can't be used: (rights are|the credential has a prefix)"):
        read_client_file(path)


# -- the command ------------------------------------------------------------------------------------------------------


def run(*arguments, **options):
    result = CliRunner().invoke(main, ["provision", *map(str, arguments)], **options)
    return result.exit_code, result.stdout.strip(), result.stderr.strip()


def test_provision_makes_a_root_key_and_clients_from_it(tmp_path):
    root, alice, bob, carol = (tmp_path / f"{name}.key" for name in ("root", "alice", "bob", "carol"))
    assert run(root)[0] == 0
    code, out, _ = run("--client", "alice", "--root", root, alice)
    assert code == 0
    assert f"{alice} holds the key of a client that may read and write: give it with --key-file" in out
    code, out, _ = run("--client", "bob", "--rights", "read", "--prefix", "0x00FF", "--root", root, bob, "--json")
    assert json.loads(out) == {"key_file": str(bob), "client": "bob", "rights": ["read"], "prefix": "00ff"}
    assert run("--client", "carol", "--rights", "write, read", carol, env={"OMAP_ROOT_FILE": str(root)})[0] == 0
    key = read_root_file(root)
    assert read_client_file(alice) == provision(key, Credential(name=b"alice"))
    assert read_client_file(bob) == provision(key, Credential(Right.READ, b"\0\xff", b"bob"))
    assert read_client_file(carol) == provision(key, Credential(name=b"carol"))
    assert read_root_file(root).hex() not in out


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (["--rights", "read"], "--rights is for a client: name it with --client, or leave --rights out"),
        (["--prefix", "00"], "--prefix is for a client"),
        (["--client", "", "--root", "ROOT"], "the name of the client is empty"),
        (["--client", "a"], "derived from a root key: give its file with --root"),
        (["--client", "a", "--root", "ROOT", "--rights", "admin"], "'admin' is no right: --rights takes read, write"),
        (["--client", "a", "--root", "ROOT", "--rights", ""], "'' is no right"),
        (["--client", "a", "--root", "ROOT", "--prefix", "0"], "--prefix takes pairs of hexadecimal digits, not '0'"),
        (["--client", "a", "--root", "ROOT", "--prefix", "00" * 9], "the prefix has 9 bytes; at most 8 are allowed"),
        (["--client", "a" * 23, "--root", "ROOT"], "the name has 23 bytes; it must have at most 22"),
        (["--client", "a", "--root", "CLIENT"], "holds the key of a client, and a root key is wanted here"),
        (["--client", "a", "--root", "ABSENT"], "can't be read: No such file"),
    ],
)
def test_what_makes_no_sense_is_one_sentence_and_writes_nothing(tmp_path, options, why):
    client = tmp_path / "client"
    write_client_file(client, client_of(KEY))
    places = {"ROOT": root_file(tmp_path / "root", KEY), "CLIENT": client, "ABSENT": tmp_path / "absent"}
    path = tmp_path / "new.key"
    code, out, error = run(*[places.get(option, option) for option in options], path)
    assert (code, out, error.count("\n")) == (2, "", 0)
    assert why in error
    assert not path.exists()
