"""`omap serve --data-dir` is killed at random under load, and started again. No acknowledged write is lost."""

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

import omap
from omap.errors import MapChangedError
from tests.support.host.kept import Kept
from tests.support.host.keys import root_file
from tests.support.host.processes import gone
from tests.support.host.writers import judge, storm
from tests.support.redis.stack import free_port


@pytest.fixture
def kept(tmp_path):
    server = Kept(tmp_path)
    yield server
    if server.process.poll() is None:
        server.end(signal.SIGTERM)


def number(value):
    return value.to_bytes(8, "big")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_keeps_everything_and_asks_nobody(kept, tmp_path, how):
    witness = tmp_path / "witness"
    with kept.connect(witness=witness) as client:
        client.put(b"the keys", b"one     ")
        for turn in range(3):
            kept.end(how)
            kept.start()
            patiently(lambda: client.get(b"the keys"))
            client.put(number(turn), b"more    ")
        assert client.get(b"the keys") == b"one     "
    with kept.connect(witness=witness) as later:
        assert len(later) == 4


def patiently(work):
    for _ in range(200):
        try:
            return work()
        except omap.errors.OmapError as error:
            if isinstance(error, MapChangedError):
                raise
            time.sleep(0.05)
    return work()


@pytest.mark.parametrize("rounds", [10, pytest.param(250, marks=pytest.mark.long)])
def test_server_and_device_are_killed_under_load(kept, rounds):
    seed = int.from_bytes(os.urandom(4), "big")

    def kill(rng):
        rng.choice([kept.kill, kept.kill_device, lambda: snapshot_and_kill(rng)])()

    def snapshot_and_kill(rng):
        process = kept.run("snapshot", "--data-dir", kept.data)
        time.sleep(rng.uniform(0, 0.6))
        kept.kill()
        process.communicate()

    writers = storm(kept, rounds, seed, kill)
    judge(kept, writers)


@pytest.mark.parametrize("rounds", [10, pytest.param(250, marks=pytest.mark.long)])
def test_proxy_and_server_are_killed_under_load(kept, rounds, request):
    """A counter of Redis never loses an increment that was answered, nor runs one twice."""
    redis = pytest.importorskip("redis")
    seed = int.from_bytes(os.urandom(4), "big")
    print(f"seed {seed}")
    rng, port = random.Random(seed), free_port()

    def start_proxy():
        proxy = kept.run("proxy", "--url", kept.url, "--key-file", kept.client_file, "--port", port)
        assert proxy.stdout.readline()
        return proxy

    proxy, least, most = start_proxy(), 0, 0
    request.addfinalizer(lambda: (proxy.kill(), proxy.communicate()))
    for _ in range(rounds):
        with redis.Redis(port=port, socket_timeout=20) as client:
            end = time.monotonic() + rng.uniform(0.05, 0.4)
            victim = rng.choice(["proxy", "server", "device"])
            while time.monotonic() < end:
                try:
                    most += 1
                    value = client.incr("visits")
                except redis.RedisError:
                    continue
                assert least < value <= most
                least = value
        if victim == "proxy":
            proxy.kill()
            proxy.communicate()
            proxy = start_proxy()
        else:
            kept.kill() if victim == "server" else kept.kill_device()
            kept.start()
    with redis.Redis(port=port, socket_timeout=20) as client:
        for _ in range(200):
            try:
                value = int(client.get("visits"))
                break
            except redis.RedisError:  # the proxy goes on by itself, once it has noticed
                time.sleep(0.1)
        assert least <= value <= most


def test_an_older_folder_that_knows_nothing_of_the_last_map_is_refused(kept, tmp_path):
    witness = tmp_path / "witness"
    with kept.connect(witness=witness) as client:
        client.put(b"the keys", b"one     ")
    kept.end(signal.SIGTERM)
    shutil.copytree(kept.data, tmp_path / "older")
    kept.start()
    with kept.connect(witness=witness) as client:
        client.put(b"the keys", b"two     ")
        client.put(b"the keys", b"three   ")
    kept.end(signal.SIGTERM)
    shutil.rmtree(kept.data)
    shutil.move(tmp_path / "older", kept.data)
    kept.start()
    with pytest.raises(MapChangedError):  # this map does not know the one that the client saw last
        kept.connect(witness=witness)


def test_a_journal_that_was_cut_is_refused_and_says_what_is_gone(kept, tmp_path):
    witness = tmp_path / "witness"
    with kept.connect(witness=witness) as client:
        client.put(b"the keys", b"one     ")
        kept.ask("backup", "--data-dir", kept.data, "--to", tmp_path / "old")
        client.put(b"the keys", b"two     ")
        client.put(b"the keys", b"three   ")
    kept.end(signal.SIGTERM)
    shutil.rmtree(kept.data)
    kept.ask("restore", "--data-dir", kept.data, "--from", tmp_path / "old", "--preset", "SMALL")
    kept.start()
    with pytest.raises(MapChangedError, match=r"operations \d+ to \d+, which had been answered, are gone") as caught:
        kept.connect(witness=witness)
    with kept.connect(witness=witness, accept=caught.value.map_id) as client:
        assert client.get(b"the keys") == b"one     "


def test_snapshot_backup_and_status_say_what_there_is(kept, tmp_path):
    with kept.connect() as client:
        client.put(b"the keys", b"one     ")
        taken = json.loads(kept.ask("snapshot", "--data-dir", kept.data, "--json"))
        assert taken["bytes"] > 0
        client.put(b"the keys", b"two     ")
    told = json.loads(kept.ask("status", "--url", kept.url, "--key-file", kept.client_file, "--no-witness", "--json"))
    assert told["kept"]["snapshot_time"] > 0
    assert told["kept"]["trouble"] == ""
    assert 0 < told["kept"]["synced_operation"] <= told["operation"]
    kept.ask("backup", "--data-dir", kept.data, "--to", tmp_path / "copy")
    kept.end(signal.SIGTERM)
    assert "No damage was found: the next `omap serve` will have" in kept.ask("restore", "--data-dir", kept.data)
    kept.ask("backup", "--data-dir", kept.data, "--to", tmp_path / "copy")
    shutil.rmtree(kept.data)
    kept.ask("backup", "--data-dir", kept.data, "--from", tmp_path / "copy", "--preset", "SMALL")
    kept.start()
    with kept.connect() as client:
        assert client.get(b"the keys") == b"two     "


def test_a_device_without_a_journal_is_refused(kept, tmp_path):
    where = ["--preset", "SMALL", "--key-file", kept.key_file, "--port", 0, "--data-dir", tmp_path / "other"]
    process = kept.run("serve", *where, "--backend", "table", "--insecure")
    process.communicate(timeout=60)
    assert process.returncode == 2
    assert "this device writes no journal, so that nothing can be kept: leave --data-dir out, or take" in kept.said


def attached(kept, tmp_path, *options):
    """Start a device of its own, and have `omap serve` attach to it; return its process."""
    socket = tmp_path / "device"
    where = ["--listen", socket, "--key-file", kept.key_file, "--preset", "SMALL", *options]
    device = subprocess.Popen(
        [sys.executable, "-m", "host.model.model_process", *map(str, where)], stdout=subprocess.PIPE, text=True
    )
    assert device.stdout.readline()
    return device


def test_a_device_that_outlives_its_server_gets_the_map_of_the_folder_anew(tmp_path):
    server = Kept.__new__(Kept)
    server.prepare(tmp_path, "--attach", tmp_path / "device")
    device = attached(server, tmp_path, "--journal")
    try:
        server.start()
        with server.connect() as client:
            client.put(b"the keys", b"one     ")
            server.kill()
            server.start()
            patiently(lambda: client.get(b"the keys"))
            assert client.get(b"the keys") == b"one     "
        server.end(signal.SIGTERM)
        kept, server.data = server.data, tmp_path / "another"
        process = server.serve()  # it would take the place of a map that is not in it
        process.communicate(timeout=60)
        assert process.returncode == 2
        assert "the device holds a map that is not the one in" in server.said
        server.data = kept
        server.start()
        with server.connect() as client:
            assert client.get(b"the keys") == b"one     "
        server.end(signal.SIGTERM)
    finally:
        device.terminate()
        device.communicate()


@pytest.mark.parametrize("rounds", [3, pytest.param(25, marks=pytest.mark.long)])
def test_a_server_in_front_of_a_device_that_stays_is_killed_under_load(tmp_path, rounds):
    server = Kept.__new__(Kept)
    server.prepare(tmp_path, "--attach", tmp_path / "device")
    device = attached(server, tmp_path, "--journal")
    try:
        server.start()
        writers = storm(server, rounds, int.from_bytes(os.urandom(4), "big"))
        judge(server, writers)
        server.end(signal.SIGTERM)
    finally:
        device.terminate()
        device.communicate()


@pytest.mark.parametrize(
    ("device_options", "data", "said"),
    [([], True, "this device writes no journal"), (["--journal"], False, "this device writes a journal")],
)
def test_journal_and_data_folder_need_each_other(tmp_path, device_options, data, said):
    server = Kept.__new__(Kept)
    server.prepare(tmp_path, "--attach", tmp_path / "device")
    server.data = server.data if data else None
    device = attached(server, tmp_path, *device_options)
    try:
        process = server.serve()
        process.communicate(timeout=60)
        assert process.returncode == 2
        assert said in server.said
    finally:
        device.terminate()
        device.communicate()


def test_a_folder_in_use_is_refused(kept):
    process = kept.run("serve", "--preset", "SMALL", "--key-file", kept.key_file, "--port", 0, "--data-dir", kept.data)
    process.communicate(timeout=60)
    assert process.returncode == 2
    assert "is in use by another process" in kept.said


def test_a_root_key_that_is_another_is_refused_and_the_files_stay(kept, tmp_path):
    with kept.connect() as client:
        client.put(b"the keys", b"one     ")
    kept.end(signal.SIGTERM)
    before = {path.name: path.read_bytes() for path in kept.data.iterdir() if path.is_file()}
    other = root_file(tmp_path / "other.key")
    process = kept.run("serve", "--preset", "SMALL", "--key-file", other, "--port", 0, "--data-dir", kept.data)
    process.communicate(timeout=60)
    assert process.returncode == 2
    assert "the device refuses to restore the map (ALTERED" in kept.said
    assert {path.name: path.read_bytes() for path in kept.data.iterdir() if path.is_file()} == before
    kept.start()
    with kept.connect() as client:
        assert client.get(b"the keys") == b"one     "


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own, of 8 MiB."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("a file system of its own needs root and mkfs.ext4")
    image, place = tmp_path / "image", tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    place.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, place], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a loop device can't be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(path):
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_file_system_that_runs_full_loses_nothing(small_disk, tmp_path):
    server = Kept(tmp_path, "--snapshot-after", "1GiB")
    server.end(signal.SIGTERM)
    server.data = small_disk / "data"
    server.start()
    filler, put = small_disk / "filler", 0
    fill(filler)
    with contextlib.suppress(omap.errors.OmapError), server.connect(timeout=3) as client:
        for put in range(1 << 16):
            client.put(number(put % 512), number(put))
    assert "no write is acknowledged" in server.said
    assert server.said.count("no write is acknowledged") == 1
    filler.unlink()
    patiently(lambda: server.connect(timeout=3).close())
    assert "writes are acknowledged again" in server.said
    server.kill()
    server.start()
    with server.connect() as client:
        for key in range(min(512, put)):
            last = max(value for value in range(put) if value % 512 == key)
            assert client.get(number(key)) in (number(last), number(last + 512))
    server.end(signal.SIGTERM)
    assert gone(server.process.pid)
