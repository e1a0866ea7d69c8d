"""provision, get, put, delete, load, status on the command line, against a relay over a model."""
# Long: all commands share a relay and the function that runs them.

import json
import os
import pty
import re
import resource
import socket
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

import omap
from host.client.state import state_folder
from host.commands.options import json_value, typed_bytes
from host.keyfile import read_root_file
from host.testing import running_relay
from omap.cells import Cells, Stamp
from omap.cli import main
from omap.credentials import Right
from omap.databases import Register, register_key
from omap.errors import InputError
from omap.presets import preset
from omap.sessions import DeviceSessions
from tests.support.host.keys import client_file as write_client

WIDE = replace(preset("WIDE"), capacity=64, pages=64, buckets=16, waiting_slots=64, further_lines=64)


@pytest.fixture
def params():
    return WIDE


@pytest.fixture
def run(relay, client_file):
    """Run a command against the relay; return exit code, what it printed, and its errors."""

    def run(command, *arguments, key_file=client_file, last=()):
        options = ["--url", relay.address, "--key-file", str(key_file)]
        result = CliRunner().invoke(main, [command, *map(str, arguments), *options, *last])
        return result.exit_code, result.stdout.strip(), result.stderr.strip()

    return run


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_is_typed_is_text_unless_it_is_said_to_be_hexadecimal(text):
    assert typed_bytes(text, False, "key") == text.encode()
    assert typed_bytes("0x" + text, False, "key") == b"0x" + text.encode()
    for digits in (text.encode().hex(), "0x" + text.encode().hex()):
        assert typed_bytes(digits, True, "key") == text.encode()


def test_bytes_that_are_no_text_are_taken_as_they_were_typed():
    assert typed_bytes(os.fsdecode(b"\xff\xfe"), False, "value") == b"\xff\xfe"


@pytest.mark.parametrize("text", ["0xyz", "abc", "wallet", "0x0x41"])
def test_what_is_no_hexadecimal_is_refused_without_being_shown(text):
    with pytest.raises(InputError, match="pairs of hexadecimal digits") as refused:
        typed_bytes(text, True, "value")
    assert text not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1", "the value has 1, which is odd"),
        ("0xabc", "the value has 3, which is odd"),
        ("1z", "the value holds characters that are none"),
    ],
)
def test_what_is_wrong_with_hexadecimal_digits_is_said_as_it_is(text, why):
    with pytest.raises(InputError, match=why):
        typed_bytes(text, True, "value")


@given(value=st.binary(max_size=20))
def test_json_is_faithful(value):
    shown = json_value(value)
    assert bytes.fromhex(shown["hex"]) == value
    assert shown["value"] is None or shown["value"].encode() == value


def test_provision_writes_a_key_once(tmp_path):
    path = tmp_path / "root.key"
    result = CliRunner().invoke(main, ["provision", str(path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"key_file": str(path)})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    key = path.read_text()
    assert len(read_root_file(path)) == 32
    assert read_root_file(path).hex() in key
    assert read_root_file(path).hex() not in result.output
    again = CliRunner().invoke(main, ["provision", str(path)])
    assert again.exit_code == 2
    assert "exists and may hold the only copy" in again.stderr
    assert path.read_text() == key


def test_a_root_file_is_for_a_client(tmp_path):
    root, other = str(tmp_path / "root.key"), tmp_path / "x.key"
    assert CliRunner().invoke(main, ["provision", root]).exit_code == 0
    result = CliRunner().invoke(main, ["provision", "--root", root, str(other)])
    assert (result.exit_code, other.exists()) == (2, False)
    assert result.stderr == "omap: --root is for a client: name it with --client, or leave --root out\n"
    result = CliRunner().invoke(main, ["provision", str(other)], env={"OMAP_ROOT_FILE": root})
    assert (result.exit_code, other.exists()) == (0, True)


def test_put_get_delete(run):
    assert run("get", "name") == (1, "", "omap: the key is not in the map")
    assert run("put", "name", "value") == (0, "inserted", "")
    assert run("put", "name", "0x00ff", "--hex")[0] == 2, "name is not hexadecimal"
    assert run("put", "6e616d65", "0x00ff", "--hex") == (0, "overwritten", "")
    assert run("get", "0x6e616d65", "--hex") == (0, "00ff", "")
    assert run("put", "a name of more than sixteen bytes", "näher") == (0, "inserted", "")
    assert run("get", "a name of more than sixteen bytes") == (0, "näher", "")
    assert run("delete", "6e616d65", "--hex") == (0, "00ff", "")
    assert run("delete", "name")[0] == 1
    assert run("put", "empty", "") == (0, "inserted", "")
    assert run("get", "empty") == (0, "", "")


def test_json(run):
    assert json.loads(run("put", "name", "value", "--json")[1]) == {"new": True}
    value = {"found": True, "value": "value", "hex": "76616c7565"}
    assert json.loads(run("get", "name", "--json")[1]) == value
    assert json.loads(run("delete", "name", "--json")[1]) == value
    code, out, _ = run("get", "name", "--json")
    assert (code, json.loads(out)) == (1, {"found": False, "value": None, "hex": None})


def test_text_that_looks_like_hexadecimal_is_text(run):
    assert run("put", "wallet", "0x52908400098527886E0F7030069857D2E4169EE7")[0] == 0
    assert run("get", "wallet") == (0, "0x52908400098527886E0F7030069857D2E4169EE7", "")
    assert run("put", "0x41", "text")[0] == 0
    assert run("get", "A")[0] == 1
    assert run("get", "0x41") == (0, "text", "")


def test_text_may_start_with_a_dash(run):
    assert run("put", last=["--", "-5", "--hex"]) == (0, "inserted", "")
    assert run("get", last=["--", "-5"]) == (0, "--hex", "")


@pytest.mark.parametrize("value", [b"a\nb", b"a\nb\n", b"\x00\xff\r\n", b"", b"0x41", b"\x1b[2J", "\u202e".encode()])
def test_values_come_back_as_they_were(relay, run, value, client_file):
    options = ["--url", relay.address, "--key-file", str(client_file)]
    for command in ("get", "delete"):
        assert run("put", b"k".hex(), value.hex(), "--hex")[0] == 0
        facts = json.loads(run("get", "k", "--json")[1])
        assert bytes.fromhex(facts["hex"]) == value
        assert facts["value"] is None or facts["value"].encode() == value
        result = CliRunner().invoke(main, [command, "k", *options])
        assert (result.exit_code, result.stdout_bytes) == (0, value)


def test_a_terminal_gets_a_newline_and_no_escape_sequences(relay, run, client_file):
    assert run("put", "k", "a\n\tb\x1b[2J\u202e näher")[0] == 0
    ours, theirs = pty.openpty()
    options = ["--url", relay.address, "--key-file", str(client_file)]
    command = [sys.executable, "-m", "omap.cli", "get", "k", *options]
    result = subprocess.run(command, stdout=theirs, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(theirs)
    shown = os.read(ours, 1000)
    os.close(ours)
    assert result.returncode == 0, result.stderr
    assert shown.decode() == "a\r\n\tb\\x1b[2J\\u202e näher\r\n"


def test_what_is_no_hexadecimal_is_named_and_not_shown(run):
    assert "the key holds characters that are none" in run("put", "wallet", "0x12", "--hex")[2]
    code, _, error = run("put", "0x12", "secret", "--hex")
    assert (code, error.count("\n")) == (2, 0)
    assert "the value holds characters that are none" in error
    assert "secret" not in error


def test_a_client_that_may_not_read_is_told_what_it_can_do(run, tmp_path, key_file):
    writer = write_client(tmp_path / "writer.key", key_file, rights=Right.WRITE)
    assert run("get", "name", key_file=writer)[::2] == (2, "omap: this client may not read: use a client that may")
    assert run("put", "k", "v", key_file=writer)[2].endswith("use a client that may read, or `omap put --raw`")
    assert run("delete", "k", key_file=writer)[2].endswith("use a client that may read, or `omap delete --raw`")


def test_a_port_that_is_none_is_called_so():
    for command in ["serve"], ["proxy", "--key-file", "x"]:
        for port in "80x", "http":
            result = CliRunner().invoke(main, [*command, "--port", port])
            assert result.exit_code == 2
            assert f"'{port}' is no port: a number from 0 to 65535" in result.stderr


def test_raw_keys_and_values_are_exactly_as_long_as_the_maps(run):
    key, value = "11" * 16, "22" * 256
    assert run("put", key, value, "--raw", "--hex") == (0, "inserted", "")
    assert run("get", key, "--raw", "--hex") == (0, value, "")
    code, _, error = run("get", key, "--hex")
    assert code == 2
    assert "stored without omap.cells; read it raw (--raw)" in error
    for command in ("get", "name"), ("put", "name", "value"), ("delete", "name"):
        assert run(*command, "--raw")[2] == "omap: a key must be 16 bytes, not 4 bytes"
    assert run("put", key, "22", "--raw", "--hex")[2] == "omap: a value must be 256 bytes, not 1 bytes"


def test_what_does_not_fit_is_refused_in_one_line(run):
    code, _, error = run("put", "name", "v" * 255)
    assert (code, error.count("\n")) == (2, 0)
    assert "the value has 255 bytes; under this key 254 fit" in error


def test_load(run, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("id,town,people\n" + "".join(f"id-{n},town {n},{n}\n" for n in range(40)))
    code, out, _ = run("load", table, "--key", "id", "--json")
    facts = json.loads(out)
    assert (code, facts["rows"], facts["new"], facts["live_keys"]) == (0, 40, 40, 40)
    assert json.loads(run("status", "--json")[1])["operation"] == 1 + 40 + 1 + 1
    assert json.loads(run("get", "id-7")[1]) == {"town": "town 7", "people": "7"}
    assert run("load", table, "--key", "id", "--value", "town")[:2] == (
        0,
        "40 rows stored, 0 of them new; the map has 40 keys",
    )
    assert run("get", "id-7")[1] == "town 7"


def test_what_is_loaded_is_found_by_the_key_that_stands_in_the_file(run, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("addr,owner\n0x41,alice\n")
    assert run("load", table, "--key", "addr", "--value", "owner")[0] == 0
    assert run("get", "0x41") == (0, "alice", "")
    table.write_text("addr,owner\n0x42,616c696365\n")
    assert run("load", table, "--key", "addr", "--value", "owner", "--hex")[0] == 0
    assert run("get", "B") == (0, "alice", "")


@pytest.mark.parametrize(("sign", "typed"), [(";", ";"), ("\t", "tab"), ("\t", "\\t"), ("|", "|")])
def test_fields_may_be_separated_by_any_sign(run, tmp_path, sign, typed):
    table = tmp_path / "table.csv"
    table.write_text(f'id{sign}name\n1{sign}"a{sign}b"\n')
    assert run("load", table, "--key", "id", "--value", "name", "--delimiter", typed)[0] == 0
    assert run("get", "1") == (0, f"a{sign}b", "")


def test_a_column_that_is_not_stored_may_be_longer_than_a_value(run, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text(f"id,name,story\n1,one,{'x' * 10_000}\n")
    assert run("load", table, "--key", "id", "--value", "name")[0] == 0
    assert run("get", "1") == (0, "one", "")


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ("id,a\n1,2\n", ["--key", "none"], "no column 'none'"),
        ("id,a\n1,2\n", ["--key", "id", "--value", "none"], "choose --value from id, a"),
        ("id,a\n1,2\n2," + "x" * 300 + "\n", ["--key", "id"], "row 3: the value has"),
        ("id;a\n1;2\n", ["--key", "id"], "no column 'id': choose --key from id;a, or give --delimiter ';'"),
        ("id\ta\n1\t2\n", ["--key", "id"], "or give --delimiter tab"),
        ("id,a\n1,2,3\n", ["--key", "id"], "row 2 should have 2 fields like the header, not 3"),
        ("id,a\n1,2\n1,3\n", ["--key", "id"], "row 3 has the same key as row 2"),
        ("id,a\n41,42\n0x41,43\n", ["--key", "id", "--value", "a", "--hex"], "row 3 has the same key as row 2"),
        ("id,a\n41,42\n4,43\n", ["--key", "id", "--value", "a", "--hex"], "row 3: --hex takes pairs"),
        ("id,a\n41,42\n", ["--key", "id", "--hex"], "name the other one with --value"),
        ("id,a\n1,2\n", ["--key", "id", "--delimiter", ";;"], "';;' is not one sign"),
    ],
)
def test_a_table_that_can_not_be_loaded_changes_nothing(run, tmp_path, text, arguments, says):
    (tmp_path / "table.csv").write_text(text)
    code, _, error = run("load", tmp_path / "table.csv", *arguments)
    assert code == 2
    assert says in error
    assert json.loads(run("status", "--json")[1])["live_keys"] == 0


def test_a_table_that_finds_no_room_says_so(run, tmp_path):
    (tmp_path / "table.csv").write_text("id,a\n" + "".join(f"id-{n},{n}\n" for n in range(100)))
    code, _, error = run("load", tmp_path / "table.csv", "--key", "id")
    assert code == 2
    assert "the map has no room for" in error.splitlines()[-1]
    # a read of the register, the rows, a NOP for the number of live keys, and the end of the session, as in any case
    assert json.loads(run("status", "--json")[1])["operation"] == 1 + 100 + 1 + 1


def test_status(run, relay):
    facts = json.loads(run("status", "--json")[1])
    assert facts["address"] == f"127.0.0.1:{relay.port}"
    assert (facts["live_keys"], facts["operation"], facts["overruns"]) == (0, 0, 0)
    assert facts["digest"] == WIDE.digest.hex()
    assert facts["mode"] == dict.fromkeys(["hbm_private", "attested", "hardware", "insecure", "journal"], False)
    assert (facts["ring_lines"], facts["key_bytes"], facts["value_bytes"]) == (256, 16, 256)
    assert facts["most_operations"] == 14
    assert (facts["client"], facts["rights"], facts["prefix"]) == ("", ["read", "write"], "")
    text = run("status")[1]
    assert re.search(r"^live keys +0\noperations so far +\d", text, re.MULTILINE)
    assert re.search(r"^on disk +nothing", text, re.MULTILINE)
    assert re.search(r"^the device says +none$", text, re.MULTILINE)
    assert re.search(r"^operations a record, at most +14$", text, re.MULTILINE)


def test_errors_are_one_line_that_says_what_to_do(run, tmp_path, key_file, client_file):
    other = write_client(tmp_path / "other.key", bytes(32))
    code, out, error = run("status", key_file=other)
    assert (code, out, error.count("\n")) == (2, "", 0)
    assert "check the key file" in error
    assert "can't be read" in run("status", key_file=tmp_path / "absent")[2]
    holds = (
        "holds a root key, and the key of a client is wanted here: `omap provision --client NAME --root ROOT_FILE FILE`"
    )
    assert holds in run("status", key_file=key_file)[2]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"omap://127.0.0.1:{free.getsockname()[1]}"
        result = CliRunner().invoke(main, ["get", "x", "--url", url, "--key-file", str(client_file)])
    assert result.exit_code == 2
    assert "nothing listens at" in result.stderr


def test_the_key_file_may_come_from_the_environment(relay, client_file):
    result = CliRunner().invoke(main, ["status", "--url", relay.address], env={"OMAP_KEY_FILE": str(client_file)})
    assert result.exit_code == 0, result.output
    result = CliRunner().invoke(main, ["status", "--url", relay.address], env={"OMAP_KEY_FILE": None})
    assert result.exit_code == 2
    assert "--key-file" in result.stderr


def test_a_client_that_is_not_told_something_does_not_make_it_up(run, tmp_path, key_file):
    """Zeros stand in answers for what a client may not know. They are no facts."""
    writer = write_client(tmp_path / "writer.key", key_file, rights=Right.WRITE)
    small = write_client(tmp_path / "small.key", key_file, prefix=b"pre")
    name, value = b"sixteen bytes ok".hex(), b"v".ljust(256).hex()
    last = ("--raw", "--hex")
    assert run("put", name, value, last=last)[1] == "inserted"
    assert run("put", name, value, key_file=writer, last=last)[:2] == (0, "stored")
    assert run("delete", name, key_file=writer, last=last)[:2] == (0, "removed, if it was there")
    assert json.loads(run("put", name, value, key_file=writer, last=(*last, "--json"))[1]) == {"new": None}
    assert json.loads(run("delete", name, key_file=writer, last=(*last, "--json"))[1])["found"] is None
    assert run("get", name, last=last)[0] == 1
    table = tmp_path / "table.csv"
    table.write_text("id,name\n1,one\n")
    assert run("load", table, "--key", "id", key_file=small)[1] == "1 row stored, 1 of them new"
    assert json.loads(run("load", table, "--key", "id", key_file=small, last=["--json"])[1])["live_keys"] is None
    assert "a client that may read" in run("load", table, "--key", "id", key_file=writer)[2]
    for untold in (writer, small):
        assert re.search("live keys +not told", run("status", key_file=untold)[1])
        facts = json.loads(run("status", key_file=untold, last=["--json"])[1])
        assert (facts["live_keys"], facts["overruns"]) == (None, None)


def test_a_witness_notices_another_map(relay, run, tmp_path, client_file):
    witness = tmp_path / "witness"
    assert run("put", "name", "value", "--witness", witness)[0] == 0
    with running_relay(WIDE, relay.key_file) as other:
        options = ["--url", other.address, "--key-file", str(client_file), "--witness", str(witness)]
        result = CliRunner().invoke(main, ["get", "name", *options])
        assert result.exit_code == 2
        assert "formatted, or another was put in its place" in result.stderr


@pytest.mark.sec_cm("CLIENT.WITNESS.DEFAULT")
def test_a_map_that_the_host_has_emptied_is_refused_although_nobody_named_a_witness(relay, run):
    assert run("put", "name", "value")[0] == 0
    relay.run(format_again(relay))
    code, out, error = run("get", "name")
    assert (code, out, error.count("\n")) == (2, "", 0)
    assert "formatted, or another was put in its place" in error
    assert run("get", "name", "--no-witness") == (1, "", "omap: the key is not in the map")
    command, *accept = re.search(r"`omap (status --accept [0-9a-f]{32}) --key-file FILE`", error)[1].split()
    assert run(command)[0] == 2
    assert run(command, "--accept", "1" * 32)[0] == 2  # another one than is there
    code, out, _ = run(command, *accept, "--json")
    assert (code, json.loads(out)["map_id"]) == (0, accept[1])
    assert run("get", "name")[0] == 1


def test_any_map_can_be_accepted_and_nothing_is_accepted_that_is_not_remembered(relay, run):
    assert run("put", "name", "value")[0] == 0
    relay.run(format_again(relay))
    assert run("get", "name", "--accept", "any")[0] == 1
    assert "is no id of a map" in run("status", "--accept", "all")[2]
    assert (
        "no map is remembered, so that there is none to accept"
        in run("status", "--no-witness", "--accept", "1" * 32)[2]
    )


async def format_again(relay):
    """Do what a host can at any time."""
    transport = relay.transport
    transport.device._map.format()
    transport.device._sessions = DeviceSessions(WIDE, transport.device._root_key)


def test_a_full_disk_leaves_no_part_of_a_key(tmp_path):
    path = tmp_path / "root.key"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        result = CliRunner().invoke(main, ["provision", str(path)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (result.exit_code, result.stderr) == (74, f"omap: {path} can't be written: File too large\n")
    assert not path.exists()


@pytest.mark.parametrize("command", [["status"], ["get", "name"], ["put", "name", "value"], ["delete", "name"]])
def test_a_full_standard_output_is_no_answer_of_the_map(relay, run, command, client_file):
    run("put", "name", "value")
    options = ["--url", relay.address, "--key-file", str(client_file)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "omap.cli", *command, *options],
            stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert result.stderr == "omap: standard output can't be written: No space left on device\n"
    assert result.returncode == 74


def test_the_witness_belongs_to_address_and_key(relay, run, tmp_path):
    path = Path(json.loads(run("status", "--json")[1])["witness"])
    assert path.parent == state_folder()
    assert path.name.startswith(f"127.0.0.1-{relay.port}-")
    assert json.loads(path.read_text())["map_id"] == json.loads(run("status", "--json")[1])["map_id"]
    assert re.search(f"witness +{re.escape(str(path))}", run("status")[1])
    assert json.loads(run("status", "--json", "--no-witness")[1])["witness"] is None
    assert json.loads(run("status", "--json", "--witness", tmp_path / "w")[1])["witness"] == str(tmp_path / "w")
    assert "exclude each other" in run("status", "--no-witness", "--witness", tmp_path / "w")[2]


def test_what_the_command_line_stores_programs_read(relay, run):
    import omap

    run("put", "name", "value")
    with omap.connect(relay.address, client=relay.client) as client:
        cells = Cells(client.params, relay.client)
        assert cells.unpack(b"name", client[cells.key(b"name")]) == b"value"


def test_what_the_proxy_emptied_or_let_expire_is_not_there(relay, run):
    """The command line reads cells as the proxy does: stale and expired ones count as absent."""
    with omap.connect(relay.address, client=relay.client) as client:
        params, owner = client.params, relay.client
        cells, register = Cells(params, owner), Register.read(params, None)
        register.generations[0] = 5
        client.put(register_key(params, owner), register.pack(params))
        client.put(cells.key(b"stale"), cells.pack(b"stale", b"x", Stamp(generation=4)))
        client.put(cells.key(b"expired"), cells.pack(b"expired", b"x", Stamp(1, generation=5)))
        client.put(cells.key(b"fresh"), cells.pack(b"fresh", b"x", Stamp(1 << 47, generation=5)))
    assert [run("get", name)[0] for name in ("stale", "expired", "fresh")] == [1, 1, 0]
    assert run("put", "stale", "y")[1] == "inserted"
    assert run("get", "stale")[1] == "y"
    with omap.connect(relay.address, client=relay.client) as client:
        assert cells.open(b"stale", client.get(cells.key(b"stale")))[1] == Stamp(generation=5)
