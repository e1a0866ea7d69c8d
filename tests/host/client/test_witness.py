"""The witness file: what a client remembers of a map from run to run."""

import errno
import json
import os
import threading

import pytest

import omap
from host.client.state import state_folder
from host.client.witness import ANY, Witness
from omap.errors import InputError, MapChangedError, OutputError, RollbackError
from tests.support.disks import full_disk
from tests.support.host.clients import key, number_from, puts
from tests.support.host.rogue import CLIENT


def connect(relay, **options):
    return omap.connect(relay.url, **{"client": CLIENT, "timeout": 5} | options)


def test_a_witness_file_remembers_from_run_to_run(relay, tmp_path):
    witness = tmp_path / "witness"
    for _ in range(2):
        with connect(relay, witness=witness) as client:
            client.execute(puts(5))
    with connect(relay) as other:  # a client without the file changes nothing
        other.get(key(1))
    relay.in_thread(lambda: number_from(relay.device, 3))
    with connect(relay, witness=witness) as client, pytest.raises(RollbackError, match="after 11 had been seen"):
        client.get(key(1))
    relay.in_thread(relay.format)
    accept = (
        "put in its place, such as a backup of before the last restart, or it was restored more than 16 times since; "
        "nobody can tell what is missing in this one; if `omap serve` was started without its --data-dir, "
        "start it with that folder; if this map was meant, accept it: `omap status --accept [0-9a-f]{32} --key-file "
        "FILE`"
    )
    with pytest.raises(MapChangedError, match=accept):
        connect(relay, witness=witness)
    witness.unlink()
    connect(relay, witness=witness).close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["witness", "witness.lock"]


def test_a_witness_is_kept_at_the_highest_number(relay, tmp_path):
    witness = tmp_path / "witness"
    with connect(relay, witness=witness) as one, connect(relay, witness=witness) as other:
        one.execute(puts(3))
        other.execute(puts(3))
        other.close()  # this writes the higher number
        assert '"operation": 6' in witness.read_text()
    assert '"operation": 7' in witness.read_text()  # close() of the first client came later


def test_two_names_of_a_file_have_one_lock(tmp_path):
    """Without one, a client that comes by another name may put back a number that was read before it rose."""
    path, link = tmp_path / "witness", tmp_path / "elsewhere" / "link"
    link.parent.mkdir()
    link.symlink_to(path)
    saving = threading.Thread(target=Witness(link).session_opens, args=(b"a" * 16,))
    with Witness(path)._locked():
        saving.start()
        saving.join(0.1)
        assert saving.is_alive()
    saving.join(10)
    assert json.loads(path.read_text())["map_id"] == (b"a" * 16).hex()


def test_a_client_may_leave_the_choice_of_the_file_to_omap(relay):
    with connect(relay, witness=True) as client:
        client.get(key(1))
        assert client.witness.path.parent == state_folder()
    relay.in_thread(relay.format)
    with pytest.raises(MapChangedError):
        connect(relay, witness=True)


# -- another map ------------------------------------------------------------------------------------------------------

A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))


def opened(witness, *maps):
    """Open a session with each map in turn; return for each whether the map was taken."""
    taken = []
    for map_id in maps:
        try:
            witness.session_opens(map_id)
        except MapChangedError:
            taken.append(False)
        else:
            taken.append(True)
    return taken


@pytest.mark.sec_cm("CLIENT.MAP.REMEMBERED")
@pytest.mark.parametrize("kept", [False, True])
def test_a_map_is_accepted_once_by_its_id(tmp_path, kept):
    path = tmp_path / "witness" if kept else None
    witness = Witness(path, accept=B.hex())
    assert opened(witness, A, C, A) == [True, False, True]
    witness.note(7)
    assert opened(witness, B, A, B) == [True, False, True]
    witness.note(0)  # its numbers begin anew
    with pytest.raises(RollbackError, match="operation 0 after 0"):
        witness.note(0)
    if kept:  # then another client accepts C; what was accepted once is a stranger now
        assert opened(Witness(path, accept=C.hex()), C) == [True]
        assert opened(witness, B, A, C) == [False, False, True]


@pytest.mark.parametrize("kept", [False, True])
def test_a_client_may_accept_any_map(tmp_path, kept):
    assert opened(Witness(tmp_path / "witness" if kept else None, accept=ANY), A, B, A, C) == [True] * 4


def test_clients_that_share_a_file_go_on_with_the_map_that_one_of_them_accepted(tmp_path):
    path = tmp_path / "witness"
    one, other = Witness(path), Witness(path)
    assert opened(one, A, B) == [True, False]
    one.note(9)
    assert opened(other, A) == [True]
    assert opened(Witness(path, accept=B.hex()), B) == [True]
    one.save()  # it still knows the old map, and must not write it over the new one
    assert opened(one, A, B) == [False, True]
    one.note(0)
    one.save()
    assert opened(other, B) == [True]
    with pytest.raises(RollbackError, match="operation 0 after 0"):
        other.note(0)


@pytest.mark.parametrize("accept", ["", "ANY", "1" * 31, "1" * 33, "x" * 32, "\u0661" * 32])
def test_what_is_no_id_of_a_map_is_refused(relay, accept):
    with pytest.raises(InputError, match="is no id of a map: accept the 32 hexadecimal digits"):
        connect(relay, accept=accept)


def test_a_witness_file_that_can_not_be_used_is_one_line(relay, tmp_path):
    with pytest.raises(InputError, match=r"can't be locked: No such file or directory; name another \(--wit"):
        connect(relay, witness=tmp_path / "none" / "witness")


def test_a_file_system_without_locks_is_one_line(relay, tmp_path, monkeypatch):
    """It is no fault of the peer."""

    def flock(handle, how):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.raises(InputError, match="the witness file .* can't be locked: No locks available; name another"):
        connect(relay, witness=tmp_path / "witness")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 1, "map_id": "00", "operation": 1}', "nonsense"])
def test_a_witness_file_of_something_else_is_refused(relay, tmp_path, text):
    (tmp_path / "witness").write_text(text)
    with pytest.raises(InputError, match="is no witness file of this version"):
        connect(relay, witness=tmp_path / "witness")
    assert (tmp_path / "witness").read_text() == text


# -- a restored map ---------------------------------------------------------------------------------------------------


@pytest.mark.sec_cm("CLIENT.RESTORE.COMPLETE")
@pytest.mark.parametrize("file", [False, True])
def test_a_restored_map_is_taken_if_nothing_is_missing(tmp_path, file):
    witness = Witness(tmp_path / "witness" if file else None)
    assert witness.session_opens(A)
    witness.note(0, 10)  # operations 0 to 9
    assert witness.known() == A
    with pytest.raises(MapChangedError, match="so operations 9 to 9, which had been answered, are gone"):
        witness.session_opens(B, A, 9)
    assert witness.map_id == A
    assert witness.session_opens(B, A, 10)
    assert (witness.map_id, witness.complete) == (B, True)
    with pytest.raises(RollbackError, match="operation 9 after 9"):  # the numbers go on
        witness.note(9)
    witness.note(10)
    with pytest.raises(MapChangedError, match="another was put in its place"):
        witness.session_opens(C, B, None)


def test_a_restored_map_that_lacks_something_can_be_accepted(tmp_path):
    path = tmp_path / "witness"
    before = Witness(path)
    before.session_opens(A)
    before.note(0, 10)
    before.save()
    witness = Witness(path, accept=B.hex())
    assert witness.known() == A
    assert witness.session_opens(B, A, 4)
    assert not witness.complete
    with pytest.raises(RollbackError, match="operation 3 after 3"):
        witness.note(3)
    witness.note(4)


def test_a_device_that_was_asked_about_another_map_is_asked_again(tmp_path):
    path = tmp_path / "witness"
    one, other = Witness(path), Witness(path)
    one.session_opens(A)
    one.note(0)
    one.save()
    assert other.session_opens(B, other.known(), 1)
    assert not one.session_opens(C, A, 1)  # the other has seen B, of which nothing was asked
    assert one.known() == B
    with pytest.raises(MapChangedError):
        one.session_opens(C, B, None)


def test_a_witness_file_for_which_there_is_no_room_is_an_output(tmp_path):
    path, link = tmp_path / "witness", tmp_path / "link"
    link.symlink_to("witness")
    for operation in 5, 9:
        seen = Witness(link)
        seen.session_opens(A, seen.known(), 0)
        seen.operation = operation
        seen.save()
        assert os.readlink(link) == "witness"
        assert json.loads(path.read_text())["operation"] == operation
    before = path.read_bytes()
    seen.operation = 12
    with full_disk(20), pytest.raises(OutputError, match="the witness file .* can't be written: File too large"):
        seen.save()
    assert path.read_bytes() == before
    assert sorted(each.name for each in tmp_path.iterdir()) == ["link", "witness", "witness.lock"]
