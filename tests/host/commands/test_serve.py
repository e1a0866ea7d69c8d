"""``omap serve`` as a process: what it prints, how it ends, and that a device survives the relays in front of it."""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from host.commands.planned import MapOptions, _earlier
from host.data.folder import DataFolder
from host.data.identity import known
from host.keyfile import read_root_file
from host.paramsfile import read_params_file
from omap.bodies import responses
from omap.cli import INTERRUPTED, main
from omap.errors import InputError
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.wire import LEAST_RING_LINES
from tests.support.host.clients import RawClient, parts
from tests.support.host.keys import client_file
from tests.support.host.processes import children_of, gone
from tests.support.host.transports import listening
from tests.support.oracle import expected

TINY = preset("TINY")


@contextlib.contextmanager
def serving(*options, code=0):
    """Run ``omap serve`` and yield what it said of itself; end it with SIGTERM."""
    run = [sys.executable, "-m", "omap.cli", "serve", "--port", "0", "--json", *map(str, options)]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        facts = json.loads(line)
        host, _, port = facts["address"].removeprefix("omap://").partition(":")
        yield SimpleNamespace(process=process, host=host, port=int(port) if port.isdigit() else 0, facts=facts)
    finally:
        process.send_signal(signal.SIGTERM)
        _, process.errors = process.communicate(timeout=60)
    assert process.returncode == code, process.errors


def refusal(*arguments):
    """Return the one line with which ``omap serve`` ends."""
    result = CliRunner().invoke(main, ["serve", "--port", "0", *map(str, arguments)])
    assert result.exit_code == 2, result.output
    lines = [line for line in result.output.splitlines() if line.startswith("omap: ")]
    assert len(lines) == 1, result.output
    return lines[0]


def test_serve_says_where_it_is_serves_and_ends_in_order(key_file):
    options = ["--preset", "tiny", "--key-file", key_file, "--metrics-port", "0", "--json-log"]
    with serving(*options) as served:
        (child,) = children_of(served.process.pid)
        assert served.facts["backend"] == "process"
        assert served.facts["digest"] == TINY.digest.hex()
        assert served.facts["mode"] == dict.fromkeys(
            ["hbm_private", "attested", "hardware", "insecure", "journal"], False
        )
        with RawClient(served, read_root_file(key_file)) as client:
            assert len(client.run([Operation(Kind.NOP)] * 50)) == 50
        with urllib.request.urlopen(served.facts["monitor"] + "/healthz", timeout=20) as answer:
            assert json.load(answer)["healthy"]
    assert gone(child)
    events = [json.loads(line)["event"] for line in served.process.errors.splitlines()]
    assert events[0] == "listening"
    assert events[-2:] == ["draining", "stopped"]
    assert "the host can read this device's memory: " in served.process.errors


def test_ctrl_c_before_it_is_ready_is_one_line(key_file):
    run = [sys.executable, "-m", "omap.cli", "serve", "--port", "0", "--preset", "paper", "--key-file", str(key_file)]
    process = subprocess.Popen(run, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    while not any("numpy" in Path(f"/proc/{child}/maps").read_text() for child in children_of(process.pid)):
        time.sleep(0.002)
    children = children_of(process.pid)  # the device, which is still being imported
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    assert process.communicate(timeout=60)[0].strip() == "omap: interrupted"
    assert process.returncode == INTERRUPTED
    assert all(gone(child) for child in children)


@pytest.mark.parametrize("tcp", [True, False])
def test_serve_listens_at_a_socket_file(key_file, tmp_path, tcp):
    path = tmp_path / "relay"
    options = ["--preset", "tiny", "--key-file", key_file, "--unix", path]
    with serving(*options, *([] if tcp else ["--no-tcp"])) as served:
        assert served.facts["addresses"][-1] == f"omap+unix://{path}"
        assert len(served.facts["addresses"]) == 1 + tcp
        with RawClient(served, read_root_file(key_file), path=path) as client:
            assert len(client.run([Operation(Kind.NOP)] * 50, 7)) == 50
        if not tcp:
            assert "can't listen at" in refusal(*options, "--no-tcp", "--backend", "model")
    assert not path.exists()


@pytest.mark.parametrize("model", ["fast", "reference"])
def test_the_model_is_compiled_or_the_reference(key_file, model):
    with serving("--preset", "tiny", "--key-file", key_file, "--model", model) as served:
        (child,) = children_of(served.process.pid)
        assert ("llvmlite" in Path(f"/proc/{child}/maps").read_text()) == (model == "fast")
        with RawClient(served, read_root_file(key_file)) as client:
            batch = [Operation(Kind(n % 4), bytes([n % 7]) * 4, bytes([n]) * 4) for n in range(50)]
            oracle = {}
            for operation, response in zip(batch, client.run(batch, 5), strict=True):
                assert response == expected(oracle, TINY.capacity, operation)


def test_an_open_table_is_served_to_who_asks_for_it_twice(key_file):
    options = ["--preset", "tiny", "--key-file", key_file, "--backend", "table"]
    assert "no oblivious map, but an open hash table" in refusal(*options)
    assert "--insecure is for --backend table, and the backend is 'process': add --backend table, or leave" in refusal(
        *options[:-2], "--insecure"
    )
    with serving(*options, "--insecure") as served:
        assert served.facts["backend"] == "table"
        assert served.facts["mode"]["insecure"]
        with RawClient(served, read_root_file(key_file)) as client:
            batch = [Operation(Kind(n % 4), bytes([n % 7]) * 4, bytes([n]) * 4) for n in range(50)]
            oracle = {}
            for operation, response in zip(batch, client.run(batch, 5), strict=True):
                assert response == expected(oracle, TINY.capacity, operation)
    assert "INSECURE: an open table stands in for the map" in served.process.errors


def test_a_running_device_has_its_model_already(tmp_path):
    assert "give either --attach or --model" in refusal("--attach", tmp_path / "none", "--model", "fast")


def test_a_server_that_can_not_say_that_it_is_ready_ends(key_file):
    run = [sys.executable, "-m", "omap.cli", "serve", "--port", "0", "--preset", "tiny", "--key-file", str(key_file)]
    with open("/dev/full", "w") as full:
        result = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert result.stderr.splitlines()[-1] == "omap: standard output can't be written: No space left on device"
    assert "Traceback" not in result.stderr
    assert result.returncode == 74


def test_serve_ends_when_its_device_does(key_file):
    with serving("--preset", "tiny", "--key-file", key_file, code=2) as served:
        (child,) = children_of(served.process.pid)
        os.kill(child, signal.SIGKILL)
        served.process.wait(30)
    assert "omap: the device is gone: its process has ended with code -9; the map is lost" in served.process.errors


def test_a_device_survives_relays_that_are_killed(key_file, tmp_path):
    """Under load, at random points: what was acknowledged is there, and what is of unknown fate ran once or not at all.

    The one key counts: operation n puts n there.
    """
    key, replaces, ran, rng = read_root_file(key_file), 0, None, random.Random(11)
    first = acknowledged = put = 0
    with listening(TINY, key_file, tmp_path, ring_lines=LEAST_RING_LINES) as path:
        for _ in range(4):
            with contextlib.ExitStack() as stack:
                served = stack.enter_context(serving("--preset", "tiny", "--attach", path, code=-signal.SIGKILL))
                client = stack.enter_context(RawClient(served))
                client.open_session(key, replaces=replaces)
                replaces = client.session.session
                client.submit([Operation(Kind.GET, b"key!")])
                (reply,) = client.replies(1)
                (response,) = responses(client.session.codec, reply)
                found = int.from_bytes(response.previous or b"", "big")
                if ran is not None:
                    assert acknowledged <= found <= put
                    assert reply.sequence - ran - 1 == found - first  # each of them ran once
                first = acknowledged = put = found
                ran = reply.sequence
                timer = threading.Timer(rng.uniform(0.05, 0.3), served.process.kill)
                timer.start()
                with contextlib.suppress(EOFError, ConnectionError):
                    while True:
                        count, each = rng.randrange(1, 80), rng.choice([1, 1, 3, 20, 80])
                        numbers = range(put + 1, put + count + 1)
                        put += count
                        batch = [Operation(Kind.PUT, b"key!", number.to_bytes(4, "big")) for number in numbers]
                        client.submit(batch, each)
                        for part in parts(batch, each):
                            acknowledged += len(client.answers(len(part)))
                timer.join()
                served.process.wait(30)
        assert put > 100


@pytest.mark.parametrize("backend", ["model", "process"])
def test_wrong_key_files_are_one_line(backend, key_file, tmp_path):
    options = ["--preset", "tiny", "--backend", backend, "--key-file"]
    assert "can't be read: No such file or directory" in refusal(*options, tmp_path / "none")
    key_file.chmod(0o644)
    assert "has mode 0644, so that others can use it: chmod 600" in refusal(*options, key_file)
    key_file.chmod(0o600)
    key_file.write_text("ab" * 31)
    assert "does not hold a root key: the line 'omap root key' and a line for key" in refusal(*options, key_file)
    holds = "holds the key of a client, and a root key is wanted here: `omap provision FILE` writes one"
    assert holds in refusal(*options, client_file(tmp_path / "client.key", bytes(32)))
    assert refusal(*options[:-1]).endswith(
        "needs a root key file: `omap provision FILE` writes one; give it with --key-file FILE, or name it in the "
        "environment variable OMAP_ROOT_FILE"
    )


@pytest.mark.parametrize("options", [[], ["--key-file", "none"]])
def test_without_a_key_no_folder_is_made(options, tmp_path):
    assert "`omap provision FILE` writes one" in refusal("--data-dir", tmp_path / "data", *options)
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_does_not_start_was_not_asked_for_a_format(key_file, tmp_path):
    key_file.write_text("ab" * 31)
    options = ["--preset", "tiny", "--key-file", key_file, "--data-dir", tmp_path / "data"]
    result = CliRunner().invoke(main, ["serve", *map(str, options)])
    assert "does not hold a root key" in result.output
    assert "Nothing is there to restore." in result.output
    assert "format" not in result.output


@pytest.mark.parametrize(
    ("option", "value"), [("--sync", "always"), ("--snapshot-after", "1GiB"), ("--snapshot-every", "10")]
)
def test_how_a_map_is_kept_is_for_a_map_that_is_kept(key_file, option, value):
    says = refusal("--preset", "tiny", "--key-file", key_file, option, value)
    assert says == f"omap: {option} is for --data-dir: give a folder, or leave {option} out"


@pytest.mark.parametrize("option", ["--port", "--metrics-port", "--unix"])
def test_without_a_place_to_listen_at_no_map_is_made(key_file, tmp_path, option):
    options = ["--preset", "tiny", "--backend", "model", "--key-file", key_file, "--data-dir", tmp_path / "data"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (tmp_path / "file").touch()
        place = tmp_path / "file" if option == "--unix" else taken.getsockname()[1]
        assert "can't listen at" in refusal(*options, option, place)
    assert not (tmp_path / "data").exists()


def test_other_mistakes_are_one_line(key_file, tmp_path, monkeypatch):
    options = ["--preset", "tiny", "--backend", "model", "--key-file", key_file]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        in_use = f"can't listen at 127.0.0.1:{port}: another program uses this port"
        assert in_use in refusal(*options, "--port", port)
        assert in_use in refusal(*options, "--port", 0, "--metrics-port", port)
    assert "can't listen at 203.0.113.1:7450: Cannot assign requested address" in refusal(
        *options, "--host", "203.0.113.1", "--port", 7450
    )
    assert "no transport is called 'pci'; installed are" in refusal("--backend", "pci")
    assert "give a socket file with --unix" in refusal(*options, "--no-tcp")
    assert "a socket file needs no TLS" in refusal(*options, "--no-tcp", "--unix", "x", "--tls-cert", "y")
    assert "ring_lines is 3; it must be a power of two" in refusal(*options, "--ring-lines", 3)
    assert "give one of --preset, --params, and sizes" in refusal(*options, "--capacity", 5)
    assert "TLS needs both --tls-cert and --tls-key" in refusal(*options, "--tls-cert", key_file)
    assert "both must be PEM" in refusal(*options, "--tls-cert", key_file, "--tls-key", key_file)
    assert "no device can be reached at" in refusal("--preset", "tiny", "--attach", tmp_path / "none")
    assert "a card needs its program: give --xclbin" in refusal("--preset", "tiny", "--backend", "xrt")
    assert "a card holds its own root key" in refusal("--backend", "xrt", "--key-file", key_file)
    assert "a card holds its own root key" in refusal("--backend", "vfio", "--key-file", key_file)
    assert "'0' is no PCIe address" in refusal("--preset", "tiny", "--backend", "vfio", "--device", 0)
    assert "there is no PCIe device ffff:ff:1f.7" in refusal("--backend", "vfio", "--device", "ffff:ff:1f.7")
    assert "--xclbin is for --backend xrt, and the backend is 'vfio'" in refusal("--backend", "vfio", "--xclbin", "x")
    assert refusal("--preset", "tiny", "--device", "0000:3b:00.0") == (
        "omap: --device is for --backend vfio or xrt, and the backend is 'process': add --backend vfio, or leave "
        "--device out"
    )
    (tmp_path / "file").touch()
    assert refusal(*options, "--port", 0, "--unix", tmp_path / "file").endswith(
        "another file has this name; move it away, or choose another name"
    )
    for pair in (key_file, tmp_path / "none.pem"), (tmp_path / "none.pem", key_file):
        option = "--tls-cert" if pair[1] == key_file else "--tls-key"
        says = refusal(*options, "--tls-cert", pair[0], "--tls-key", pair[1])
        assert f"TLS can't use {option} {tmp_path / 'none.pem'}: it is not there; give a PEM file" in says
    assert "give either --attach or --key-file" in refusal("--attach", tmp_path / "none", "--key-file", key_file)
    monkeypatch.setenv("OMAP_KEY_FILE", str(key_file))  # set for clients; not an option of this command
    assert "a card needs its program: give --xclbin" in refusal("--preset", "tiny", "--backend", "xrt")
    assert "there is no PCIe device ffff:ff:1f.7" in refusal("--backend", "vfio", "--device", "ffff:ff:1f.7")
    assert "no device can be reached at" in refusal("--preset", "tiny", "--attach", tmp_path / "none")


@pytest.mark.parametrize("text", ["{}", '{"params": {}}'])
def test_a_parameter_file_without_parameters_is_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "plan.json"
    path.write_text(text)
    says = refusal("--params", path)
    assert says.startswith(f"omap: the parameter file {path} can't be used: not a parameter set: 'capacity', ")
    assert says.endswith("missing; `omap plan --json` writes all that are needed")
    assert "__init__" not in says


def test_parameters_come_from_a_preset_a_file_or_sizes(tmp_path):
    assert MapOptions(preset="SMALL").params() == preset("SMALL")
    planned = MapOptions(capacity=5000, key_bytes=8, value_bytes=24).params()
    assert (planned.capacity, planned.key_bytes, planned.value_bytes) == (5000, 8, 24)
    path = tmp_path / "plan.json"
    path.write_text(CliRunner().invoke(main, ["plan", "--capacity", "5000", "--value-bytes", "24", "--json"]).output)
    assert MapOptions(params_file=path).params() == read_params_file(path)
    default = MapOptions().params()
    assert (default.capacity, default.key_bytes, default.value_bytes) == (65536, 16, 256)
    with pytest.raises(InputError, match="give one of"):
        MapOptions(preset="SMALL", params_file=path).params()
    assert MapOptions().params_of(None) == MapOptions().params_of(tmp_path) == MapOptions().params()


def test_a_data_folder_says_which_map_it_holds(tmp_path):
    path = tmp_path / "data"
    DataFolder.open(path, preset("SMALL")).close()
    small = preset("SMALL")
    sizes = MapOptions(capacity=small.capacity, value_bytes=small.value_bytes)  # a plan of these is another map
    assert sizes.params() != small
    for options in (MapOptions(), MapOptions(preset="SMALL"), sizes):
        assert options.params_of(path) == small
    for options in (MapOptions(preset="TINY"), MapOptions(capacity=small.capacity + 1)):
        with pytest.raises(
            InputError, match=r"holds a map of .*, and one of .* was asked for: leave --preset, --params "
        ):
            options.params_of(path)


def digest_alone(path, params):
    """Make a data folder as omap made it before it kept the parameters."""
    DataFolder.open(path, params).close()
    (path / "omap-data").write_text(f"omap data folder\nversion 1\nparameters {params.digest.hex()}\n")


def test_a_folder_of_an_earlier_default_is_found_by_its_digest(tmp_path):
    """These are the maps of version 0.1.0 before descriptor lines had 128 bytes."""
    for options, digest in (
        (MapOptions(), "c35033872c22ad69"),
        (MapOptions(capacity=5000, key_bytes=8, value_bytes=24), "8c68dbe35a075d23"),
    ):
        now = options.params()
        earlier = next(params for params in _earlier(now) if params.digest.hex().startswith(digest))
        for number, params in enumerate((earlier, now)):
            path = tmp_path / f"{digest} {number}"
            digest_alone(path, params)
            assert options.params_of(path) == params
            DataFolder.open(path, params).close()
            assert known(path) == (params.digest, params)
            assert options.params_of(path) == params  # although it names the sizes alone
    digest_alone(tmp_path / "small", preset("SMALL"))
    assert MapOptions(preset="SMALL").params_of(tmp_path / "small") == preset("SMALL")
    for options in (MapOptions(), MapOptions(preset="TINY"), MapOptions(capacity=5)):
        with pytest.raises(
            InputError, match="give --params FILE with what `omap plan --json` prints for that map in the"
        ):
            options.params_of(tmp_path / "small")


def test_commands_on_a_folder_need_no_options(tmp_path):
    path = tmp_path / "data"
    DataFolder.open(path, preset("SMALL")).close()
    result = CliRunner().invoke(main, ["restore", "--data-dir", str(path)])
    assert result.output == "Nothing is there to restore.\nThe next `omap serve` will ask its device for a format.\n"
    result = CliRunner().invoke(main, ["backup", "--data-dir", str(path), "--to", str(tmp_path / "backup")])
    assert "holds nothing yet: start its map first" in result.output
    result = CliRunner().invoke(main, ["restore", "--data-dir", str(path), "--preset", "tiny"])
    assert "leave --preset, --params and sizes out" in result.output
