"""A map is kept in a data folder over every way to a device."""

import contextlib
import signal
import tempfile
import time
from pathlib import Path

import pytest

import omap
from host.commands.data import begin
from host.data.folder import DataFolder
from host.device.driver import Driver
from host.device.restoring import begin_empty
from host.device.transport import open_transport
from host.keyfile import read_root_file
from host.relay.keeper import Keeping
from host.testing import running_relay
from omap.errors import InputError
from omap.presets import preset
from omap.regmap import State
from omap.wire import LEAST_RING_LINES
from tests.support.host import transports
from tests.support.host.cards import ModelCard
from tests.support.host.fake_pyxrt import FakeXrt
from tests.support.host.fake_vfio import FakeVfio
from tests.support.host.kept import CardedServer

WAYS = tuple(name for name in transports.NAMES if name != "stepped")
"""Ways to a device that runs by itself."""


@contextlib.contextmanager
def served(transport, key_file, path):
    """Serve the map of a data folder as ``omap serve --data-dir`` does; yields a client and the relay."""
    params = transport.layout.params
    with contextlib.closing(DataFolder.open(path, params)) as folder:

        def kept(driver):
            return begin(driver, folder, Keeping())

        with (
            running_relay(params, key_file, transport=transport, begin=kept) as relay,
            omap.connect(relay.address, client=relay.client, timeout=300) as client,
        ):
            yield client, relay


def key(number, params):
    return number.to_bytes(params.key_bytes, "big")


def value(number, params):
    return number.to_bytes(params.value_bytes, "big")


def fresh(tmp_path):
    """Return a folder for a new machine."""
    return Path(tempfile.mkdtemp(dir=tmp_path))


@pytest.mark.parametrize("name", WAYS)
def test_a_restart_keeps_everything(name, params, key_file, tmp_path):
    fitting = transports.fitting(name, params, key_file)
    for turn in range(3):
        with (
            transports.opened(name, fitting, key_file, tmp_path=fresh(tmp_path), journal=True) as transport,
            served(transport, key_file, tmp_path / "data") as (client, relay),
        ):
            assert [client.get(key(number, fitting)) for number in range(turn)] == [
                value(100 * number, fitting) for number in range(turn)
            ]
            assert len(client) == turn
            if turn == 1:
                assert relay.run(relay.relay.keeper.snapshot()).bytes
            client.put(key(turn, fitting), value(100 * turn, fitting))


@pytest.mark.parametrize("name", ["rtl"])
def test_a_model_restores_what_another_device_has_kept(name, params, key_file, tmp_path):
    fitting = transports.fitting(name, params, key_file)
    for way in (name, "model"):
        with (
            transports.opened(way, fitting, key_file, tmp_path=tmp_path, journal=True) as transport,
            served(transport, key_file, tmp_path / "data") as (client, _),
        ):
            if way == name:
                for number in range(30):
                    client.put(key(number, fitting), value(number + 7, fitting))
                client.delete(key(3, fitting))
            else:
                assert len(client) == 29
                assert client.get(key(29, fitting)) == value(36, fitting)
                assert client.get(key(3, fitting)) is None


@pytest.mark.parametrize("name", ["xrt", "vfio"])
def test_one_card_is_served_again_and_again(name, params, key_file, tmp_path):
    """VFIO resets the card itself. Under XRT its user does."""
    root_key = read_root_file(key_file)
    card = ModelCard(params, root_key, journal=True)
    if name == "xrt":
        machine = FakeXrt(params, root_key, card=card)
        options, again = {"xclbin": machine.xclbin(tmp_path)}, machine.reset
    else:
        machine = FakeVfio(tmp_path, params, root_key, card=card)
        options, again = {"system": machine}, lambda: None
    with machine:
        for turn in range(3):
            with (
                open_transport(name, params, ring_lines=LEAST_RING_LINES, **options) as transport,
                served(transport, key_file, tmp_path / "data") as (client, _),
            ):
                assert len(client) == turn
                client.put(key(turn, params), value(1, params))
            again()


@pytest.mark.parametrize("name", ["xrt", "vfio"])
def test_a_card_that_writes_a_snapshot_is_stopped_all_the_same(name, key_file, tmp_path):
    """Nobody takes the snapshot any more. The card must not go on with memory that is another's then."""
    params = preset("SMALL")  # whose snapshot does not fit the ring
    with transports.opened(name, params, key_file, tmp_path=tmp_path, journal=True) as transport:
        with Driver(transport, params) as driver:
            begin_empty(driver)
            driver.ask_export()
            while driver.state is not State.EXPORTING:
                time.sleep(0.001)
        card = transport.machine.card
        assert card.device.state is State.STOPPED
        assert not card.running


@pytest.mark.parametrize("name", ["process", "xrt", "vfio"])
def test_journal_and_data_folder_need_each_other(name, params, key_file, tmp_path):
    with transports.opened(name, params, key_file, tmp_path=fresh(tmp_path)) as transport:
        with (
            pytest.raises(InputError, match=r"this device writes no journal.*`omap board build` makes one"),
            served(transport, key_file, tmp_path / "data"),
        ):
            pass
        assert transport.read("STATUS") == State.IDLE  # nothing was begun
    with (
        transports.opened(name, params, key_file, tmp_path=fresh(tmp_path), journal=True) as transport,
        Driver(transport, params) as driver,
        pytest.raises(InputError, match=r"writes a journal, which must be kept: give --data-dir.*--no-journal"),
    ):
        begin(driver, None, Keeping())


@pytest.fixture(params=["xrt", "vfio"])
def server(request, tmp_path):
    made = CardedServer(request.param, tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.end(signal.SIGTERM)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_omap_serve_keeps_the_map_of_a_card(server, how):
    for turn in range(3):
        server.start()
        with server.connect() as client:
            assert len(client) == turn
            client.put(turn.to_bytes(8, "big"), b"%8d" % turn)
            assert client.get(bytes(8)) == b"       0"
            if turn == 1:
                server.ask("snapshot", "--data-dir", server.data)
        server.end(how)


def test_omap_serve_says_how_to_get_a_card_with_a_journal(server):
    server.journal = False
    process = server.serve()
    process.communicate(timeout=60)
    assert process.returncode == 2
    assert "this device writes no journal, so that nothing can be kept: leave --data-dir out, or take" in server.said
    assert "`omap board build` makes one, unless it is told --no-journal" in server.said
