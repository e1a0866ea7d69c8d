"""The transcript of sessions: generated again, checked independently, followed by both ends."""

import ast
import copy
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from omap import errors
from omap.params import Params
from omap.session import ClientSession, DeviceSessions
from omap.wire import Refusal, read_header
from tests.vectors import generate_session, verify_session

HERE = Path(__file__).parent
DOCUMENT = json.loads((HERE / "session.json").read_text())
CASES = {case["preset"]: case for case in DOCUMENT["sessions"]}


def test_the_file_is_what_is_generated():
    assert json.loads(json.dumps(generate_session.document())) == DOCUMENT


def test_an_independent_implementation_agrees():
    verify_session.verify(HERE / "session.json")


class Ends:
    """Both ends of a session of the file, from its bytes alone."""

    def __init__(self, case):
        self.case = case
        self.params = Params.from_dict(case["parameters"])
        self.map_id = bytes.fromhex(case["map_id"])
        root_key = bytes.fromhex(case["root_key"])
        self.device = DeviceSessions(self.params, root_key, nonce=lambda: bytes.fromhex(case["device_nonce"]))
        self.device._last_session = case["session"] - 1
        self.device._table[: case["session_index"]] = [SimpleNamespace(session=-1, used=0)] * case[
            "session_index"
        ]  # they are taken
        self.client = ClientSession(self.params, root_key, replaces=case["replaces"])
        self.client._nonce = bytes.fromhex(case["client_nonce"])

    def shake_hands(self, changed=None, step=None):
        records = [self.client.hello()]
        for number, answer in enumerate(
            [
                lambda record: self.device.hello(record, self.map_id),
                self.client.confirm,
                self.device.confirm,
            ],
            1,
        ):
            records.append(answer(records[-1]))
            if number == step:
                records[-1] = changed
        self.client.opened(records[-1])
        return records

    def advance(self, count):
        """Bring both ends to the record that is next."""
        for exchange in self.case["exchanges"][:count]:
            command = bytes.fromhex(exchange["command"])
            self.device.open(command, read_header(command))
            self.client.sent += 1
            self.client.open(bytes.fromhex(exchange["response"]))


@pytest.mark.parametrize("name", CASES)
def test_both_ends_follow_the_file(name):
    case, ends = CASES[name], Ends(CASES[name])
    assert [record.hex() for record in ends.shake_hands()] == case["handshake"]
    assert (ends.client.session_index, ends.client.session) == (case["session_index"], case["session"])
    for exchange in case["exchanges"]:
        kind, key, value = exchange["operation"]
        command = bytes.fromhex(exchange["command"])
        opened = ends.device.open(command, read_header(command))
        assert opened[0] == verify_session.KINDS[kind]
        if kind not in ("NOP", "CLOSE"):
            assert opened[1].hex() == key
        if kind == "PUT":
            assert opened[2].hex() == value
        reply = ends.client.open(bytes.fromhex(exchange["response"]))
        told = exchange["reply"]
        assert (reply.sequence, reply.live, reply.overruns) == (told["operation"], told["live"], told["overruns"])
        assert reply.response.status.name == told["status"]
        assert (reply.response.previous and reply.response.previous.hex()) == told["previous"]


@pytest.mark.parametrize("name", CASES)
def test_bad_records_are_called_what_the_file_calls_them(name):
    for bad in CASES[name]["bad_records"]:
        ends, record = Ends(CASES[name]), bytes.fromhex(bad["record"])
        ends.shake_hands()
        ends.advance(bad["next"])
        if bad["to"] == "device":
            assert ends.device.open(record, read_header(record)) is Refusal[bad["outcome"]], bad
            continue
        with pytest.raises(errors.TamperedError) as caught:
            ends.client.open(record)
        assert type(caught.value).__name__ == bad["outcome"], bad


@pytest.mark.parametrize("name", CASES)
def test_bad_handshakes_open_nothing(name):
    for bad in CASES[name]["bad_handshakes"]:
        with pytest.raises(errors.WrongKeyError):  # also where the device refuses it and the client learns of that
            Ends(CASES[name]).shake_hands(bytes.fromhex(bad["record"]), bad["step"])


def test_every_flag_is_explained_and_used():
    used = {bad["flag"] for case in CASES.values() for bad in case["bad_records"] + case["bad_handshakes"]}
    assert used == set(DOCUMENT["flags"])


@pytest.mark.parametrize(
    "path",
    [
        ("keys", "confirmation"),
        ("handshake", 1),
        ("handshake", 2),
        ("exchanges", 3, "command"),
        ("exchanges", 3, "response"),
        ("bad_records", 5, "outcome"),
    ],
)
def test_the_independent_implementation_notices_a_wrong_file(path, tmp_path):
    wrong = copy.deepcopy(DOCUMENT)
    place = wrong["sessions"][1]
    for part in path[:-1]:
        place = place[part]
    old = place[path[-1]]
    place[path[-1]] = "LostError" if path[-1] == "outcome" else old[:-1] + ("0" if old[-1] != "0" else "1")
    assert place[path[-1]] != old
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    with pytest.raises(AssertionError, match=r"wrong\.json: SMALL"):
        verify_session.verify(tmp_path / "wrong.json")


def test_it_shares_nothing_with_the_package():
    tree = ast.parse((HERE / "verify_session.py").read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= {"cryptography", "hashlib", "json", "pathlib", "struct", "sys"}
