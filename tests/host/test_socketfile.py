"""Socket files: who may connect, what is replaced, and what stays."""

import errno
import os
import socket
import stat
import threading

import pytest

from host.client.address import Address
from host.framing import socket_url
from host.listening import cannot_listen_at
from host.socketfile import SocketFile, peer_user


@pytest.fixture
def path(tmp_path):
    return tmp_path / "relay socket"


@pytest.mark.sec_cm("SOCKET.FILE.OWNER")
def test_a_socket_file_is_its_owners_alone(path):
    before = os.umask(0)
    try:
        file = SocketFile(path)
        assert os.umask(0) == 0  # as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    file.close()
    assert not path.exists()
    file.close()


def test_who_connects_is_known_by_user(path):
    file = SocketFile(path)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        end, _ = file.socket.accept()
        with end:
            assert peer_user(end) == peer_user(client) == f"user {os.getuid()}"
    with socket.socket() as other:
        assert peer_user(other) in ("local", "user -1")
    file.close()


def test_a_file_that_was_left_is_replaced_and_one_in_use_is_not(path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    first = SocketFile(path)
    with pytest.raises(OSError, match="in use") as refusal:
        SocketFile(path)
    assert "another server listens there; end it, or choose another name" in str(cannot_listen_at(path, refusal.value))
    first.close()
    SocketFile(path).close()


def test_a_server_whose_queue_is_full_still_listens(path):
    """An attempt to connect to it would wait, so it must not be taken for a server that is gone."""
    file = SocketFile(path)
    file.socket.listen(0)
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for client in (one, two):
            client.setblocking(False)
            client.connect_ex(str(path))
        with pytest.raises(OSError, match="in use"):
            SocketFile(path)
    file.close()


def test_another_file_is_not_replaced(path):
    path.write_text("precious")
    with pytest.raises(OSError, match="in use") as refusal:
        SocketFile(path)
    assert "another file has this name; move it away, or choose another name" in str(
        cannot_listen_at(path, refusal.value)
    )
    assert path.read_text() == "precious"


def test_the_file_of_another_server_is_not_removed(path):
    file = SocketFile(path)
    os.unlink(path)
    other = SocketFile(path)
    file.close()
    assert path.is_socket()
    other.close()


@pytest.mark.parametrize("name", ["no/such/folder", "x" * 200])
def test_a_place_that_can_not_be_used_is_named(tmp_path, name):
    with pytest.raises(OSError, match="No such file|too long") as refusal:
        SocketFile(tmp_path / name)
    text = str(cannot_listen_at(tmp_path / name, refusal.value))
    assert text.startswith(f"can't listen at {tmp_path / name}: ")
    assert text.endswith("; choose another file")
    assert refusal.value.errno in (errno.ENOENT, None)


def test_the_address_leads_a_client_to_the_file(path):
    url = socket_url(str(path))
    assert url == f"omap+unix://{path.parent}/relay%20socket"
    assert Address.parse(url).path == str(path)


def test_threads_of_this_process_get_their_mode_back(path):
    """The mask of the process is another for a moment only."""
    seen = []
    file = SocketFile(path)
    thread = threading.Thread(target=lambda: seen.append(os.umask(0o022)))
    thread.start()
    thread.join()
    os.umask(seen[0])
    assert seen != [0o177]
    file.close()
