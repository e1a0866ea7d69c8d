"""What a client says when it can't connect, or gets options that make no sense."""

import socket
import threading

import pytest

import omap
from host.client.settings import Settings
from omap.errors import DeviceError, InputError, SessionError, WrongKeyError
from omap.presets import preset
from omap.wire import Refusal, read_header, refusal
from tests.support.host.keys import client_file, client_of
from tests.support.host.rogue import CLIENT, KEY


def connect(relay, **options):
    return omap.connect(relay.url, **{"client": CLIENT, "timeout": 5} | options)


def test_wrong_root_key(relay):
    with pytest.raises(WrongKeyError, match="check the key file"):
        connect(relay, client=client_of(bytes(32)))
    with pytest.raises(InputError, match="client is a bytes; it must be a ClientKey"):
        connect(relay, client=KEY)
    with pytest.raises(
        InputError, match="prefix has 5 bytes and keys of this map have 4: provision .* a shorter prefix"
    ):
        connect(relay, client=client_of(KEY, prefix=b"12345"))


def test_key_files(relay, tmp_path):
    path = client_file(tmp_path / "key", KEY)
    with omap.connect(relay.url, key_file=path) as client:
        client.ping()
    path.write_text("nothing")
    with pytest.raises(InputError, match="does not hold the key of a client"):
        omap.connect(relay.url, key_file=path)
    with pytest.raises(InputError, match="can't be read"):
        omap.connect(relay.url, key_file=tmp_path / "absent")
    for options in ({}, {"key_file": path, "client": CLIENT}):
        with pytest.raises(InputError, match="give key_file="):
            omap.connect(relay.url, **options)


def test_nothing_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(DeviceError, match=f"nothing listens at 127.0.0.1:{port}: start `omap serve` there"):
            omap.connect(f"omap://127.0.0.1:{port}", client=CLIENT)


ADDRESSES = ["omap://", "omap://host:port", "omap://h:1/path", "omap://a@h", "omap://h:99999"]
ADDRESSES += ["omap+unix://", "omap+unix:///", "omap+unix://host/path", "omap+unix:///path?query"]


@pytest.mark.parametrize("url", ADDRESSES)
def test_malformed_addresses(url):
    with pytest.raises(InputError, match="is no address of a relay; write omap://host:port"):
        omap.connect(url, client=CLIENT)


def test_a_scheme_that_nobody_speaks():
    with pytest.raises(InputError, match="nothing speaks 'redis://h'; addresses start with omap://"):
        omap.connect("redis://h")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"windows": 1}, "'windows' is no option of a connection"),
        ({"window": 0}, "window is 0; it must be a whole number from 1 to"),
        ({"count": 1.5}, "count is 1.5; it must be a whole number from 1 to"),
        ({"record_limit": None}, "record_limit is None; it must be a whole number from 1 to"),
        ({"timeout": "5"}, "timeout is '5'; it must be a number from 0.001 to 1000000"),
        ({"timeout": float("inf")}, "timeout is inf; it must be a number from 0.001 to 1000000"),
        ({"rate": float("nan")}, "rate is nan; it must be a number from 0.001 to"),
        ({"timeout": -1}, "timeout is -1"),
        ({"params": preset("SMALL")}, "parameters with digest .*: check the address"),
    ],
)
def test_options_that_make_no_sense(relay, options, match):
    with pytest.raises(InputError, match=match):
        connect(relay, **options)


def test_a_peer_that_says_nothing():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"omap://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeviceError, match=r"let 0\.2 s pass without opening a session"):
            omap.connect(url, client=CLIENT, timeout=0.2)


def test_a_peer_that_sends_a_byte_at_a_time():
    """Patience is for the whole greeting."""
    ended = threading.Event()

    def trickle(server):
        with server.accept()[0] as peer:
            for byte in b"OMAP" + bytes(100):
                if ended.wait(0.05):
                    return
                peer.send(bytes([byte]))

    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=trickle, args=(server,))
        thread.start()
        with pytest.raises(DeviceError, match="without opening a session"):
            omap.connect(f"omap://127.0.0.1:{server.getsockname()[1]}", client=CLIENT, timeout=0.3)
        ended.set()
        thread.join()


def test_a_relay_that_hangs_up_at_once(relay):
    relay.command = lambda connection, number, record: relay.cut() or []
    with pytest.raises(SessionError, match="hung up before a session was open"):
        connect(relay)


def test_a_device_fault_is_told_at_the_handshake(relay):
    def fault(connection, number, record):
        return [refusal(read_header(record), Refusal.FAULT)]

    relay.response = fault
    with pytest.raises(omap.DeviceFaultError, match="has latched a fault and erased its keys"):
        connect(relay)


def test_sessions_opened_at_the_same_time_are_tried_again(relay):
    def busy(connection, number, record):
        if number in (1, 3):
            return [refusal(read_header(record), Refusal.NO_HANDSHAKE)]
        return [record]

    relay.response = busy
    with connect(relay) as client:
        assert client.ping().sequence == 0


def test_settings_do_not_show_the_key():
    shown = repr(Settings.from_url("omap://h", client=CLIENT))
    for secret in (KEY, CLIENT.key, CLIENT.names_key):
        assert secret.hex() not in shown
        assert repr(secret) not in shown
