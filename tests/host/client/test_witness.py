"""The witness file: what a client remembers of a map from run to run."""

import pytest

import omap
from host.client.state import state_folder
from omap.errors import InputError, RollbackError
from tests.support.host.clients import key, number_from, puts
from tests.support.host.rogue import KEY


def connect(relay, **options):
    return omap.connect(relay.url, **{"root_key": KEY, "timeout": 5} | options)


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
    with pytest.raises(RollbackError, match=rf"if that was meant, connect anew, or remove .*{witness.name}"):
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


def test_a_client_may_leave_the_choice_of_the_file_to_omap(relay):
    with connect(relay, witness=True) as client:
        client.get(key(1))
        assert client.witness.path.parent == state_folder()
    relay.in_thread(relay.format)
    with pytest.raises(RollbackError, match=rf"remove .*{client.witness.path.name}"):
        connect(relay, witness=True)


def test_a_witness_file_that_can_not_be_used_is_one_line(relay, tmp_path):
    with pytest.raises(InputError, match=r"can't be locked: No such file or directory; name another \(--wit"):
        connect(relay, witness=tmp_path / "none" / "witness")


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 1, "map_id": "00", "operation": 1}', "nonsense"])
def test_a_witness_file_of_something_else_is_refused(relay, tmp_path, text):
    (tmp_path / "witness").write_text(text)
    with pytest.raises(InputError, match="is no witness file of this version"):
        connect(relay, witness=tmp_path / "witness")
    assert (tmp_path / "witness").read_text() == text
