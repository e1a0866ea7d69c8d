"""What a client says when it can't connect, or gets options that make no sense."""

import socket
import threading

import pytest

import omap
from host.client.settings import Settings
from omap.errors import DeviceError, InputError, SessionError, WrongKeyError
from omap.presets import preset
from omap.wire import Header, RecordType, Refusal
from tests.support.host.rogue import KEY


def connect(relay, **options):
    return omap.connect(relay.url, **{"root_key": KEY, "timeout": 5} | options)


def test_wrong_root_key(relay):
    with pytest.raises(WrongKeyError, match="check the key file"):
        connect(relay, root_key=bytes(32))
    with pytest.raises(InputError, match="a root key has 32 bytes, not 5"):
        connect(relay, root_key=b"short")


def test_key_files(relay, tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY.hex() + "\n")
    path.chmod(0o600)
    with omap.connect(relay.url, key_file=path) as client:
        client.ping()
    path.write_text("nothing")
    with pytest.raises(InputError, match="holds no root key"):
        omap.connect(relay.url, key_file=path)
    with pytest.raises(InputError, match="can't be read"):
        omap.connect(relay.url, key_file=tmp_path / "absent")
    with pytest.raises(InputError, match="give key_file="):
        omap.connect(relay.url)


def test_nothing_listens():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(DeviceError, match=f"nothing listens at 127.0.0.1:{port}: start `omap serve` there"):
            omap.connect(f"omap://127.0.0.1:{port}", root_key=KEY)


@pytest.mark.parametrize("url", ["omap://", "omap://host:port", "omap://h:1/path", "omap://a@h", "omap://h:99999"])
def test_malformed_addresses(url):
    with pytest.raises(InputError, match="is no address of a relay; write omap://host:port"):
        omap.connect(url, root_key=KEY)


def test_a_scheme_that_nobody_speaks():
    with pytest.raises(InputError, match="nothing speaks 'redis://h'; addresses start with omap://"):
        omap.connect("redis://h")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"windows": 1}, "'windows' is no option of a connection"),
        ({"window": 0}, "window is 0; it must be at least 1"),
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
            omap.connect(url, root_key=KEY, timeout=0.2)


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
            omap.connect(f"omap://127.0.0.1:{server.getsockname()[1]}", root_key=KEY, timeout=0.3)
        ended.set()
        thread.join()


def test_a_relay_that_hangs_up_at_once(relay):
    relay.command = lambda connection, number, record: relay.cut() or []
    with pytest.raises(SessionError, match="hung up before a session was open"):
        connect(relay)


def test_a_device_fault_is_told_at_the_handshake(relay):
    def fault(connection, number, record):
        return [Header(RecordType.REFUSED, 0, Refusal.FAULT, 0, 0).pack().ljust(64, b"\0")]

    relay.response = fault
    with pytest.raises(omap.DeviceFaultError, match="has latched a fault and erased its keys"):
        connect(relay)


def test_sessions_opened_at_the_same_time_are_tried_again(relay):
    def busy(connection, number, record):
        if number in (1, 3):
            return [Header(RecordType.REFUSED, 0, Refusal.NO_HANDSHAKE, 0, 0).pack().ljust(64, b"\0")]
        return [record]

    relay.response = busy
    with connect(relay) as client:
        assert client.ping().sequence == 0


def test_settings_do_not_show_the_key():
    shown = repr(Settings.from_url("omap://h", root_key=KEY))
    assert KEY.hex() not in shown
    assert repr(KEY) not in shown
