"""The transcript of sessions: generated again, checked independently, followed by both ends."""

import ast
import copy
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from omap import errors
from omap.batch import CommandBatch
from omap.bodies import answers, command_items, unpack_columns
from omap.columns import Answers
from omap.credentials import Credential, provision
from omap.interface import as_rows
from omap.lineage import Ancestor, Lineage
from omap.operations import Kind, Status
from omap.params import Params
from omap.session import ClientSession
from omap.sessions import DeviceSessions
from omap.wire import CLOSE, Header, RecordCodec, RecordType, Refusal, read_header, refusal
from tests.vectors import generate_session, verify_session

HERE = Path(__file__).parent
DOCUMENT = json.loads((HERE / "session.json").read_text())
LISTS = ("bad_records", "bad_handshakes", "refused_credentials", "malformed")
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
        lineage = Lineage(tuple(Ancestor(bytes.fromhex(one), kept) for one, kept in case["ancestors"]))
        nonce = bytes.fromhex(case["device_nonce"])
        self.device = DeviceSessions(self.params, root_key, nonce=lambda: nonce, lineage=lineage)
        self.device._last_session = case["session"] - 1
        taken = SimpleNamespace(session=-1, used=0, credential=b"")
        self.device._table[: case["session_index"]] = [taken] * case["session_index"]
        holder = provision(root_key, Credential.unpack(bytes.fromhex(case["credential"])))
        assert (holder.key.hex(), holder.names_key.hex()) == (case["client_key"], case["names_key"])
        self.client = ClientSession(self.params, holder, replaces=case["replaces"])
        self.client._nonce = bytes.fromhex(case["client_nonce"])

    def shake_hands(self, changed=None, step=None):
        records = [self.client.hello()]
        for number, answer in enumerate(
            [
                lambda record: self.device.hello(record, self.map_id),
                lambda record: self.client.confirm(record, bytes.fromhex(self.case["known"])),
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
    assert ends.client.kept == case["kept"]
    codec = ends.client.codec
    for exchange in case["exchanges"]:
        command = bytes.fromhex(exchange["command"])
        header = read_header(command)
        columns = unpack_columns(codec, command_items(codec, ends.device.open(command, header), header.count))
        for (kind, key, value), read, name, data in zip(exchange["operations"], *columns, strict=True):
            assert read == verify_session.KINDS[kind]
            assert (name.tobytes().hex(), data.tobytes().hex()) == (
                key.ljust(2 * codec.params.key_bytes, "0"),
                value.ljust(2 * codec.params.value_bytes, "0"),
            )
        reply, told = ends.client.open(bytes.fromhex(exchange["response"])), exchange["reply"]
        assert (reply.sequence, reply.live, reply.overruns) == (told["operation"], told["live"], told["overruns"])
        assert said(answers(codec, reply)) == told["answers"]


def said(answers):
    """Return answers as the file has them."""
    return [
        [Status(status).name, value.tobytes().hex() if found else None]
        for status, found, value in zip(*answers, strict=True)
    ]


@pytest.mark.parametrize("name", CASES)
def test_a_device_enforces_the_rights_of_the_file(name):
    codec = RecordCodec(Params.from_dict(CASES[name]["parameters"]))
    for case in CASES[name]["rights"]:
        count = case["count"]
        header = Header(RecordType.DATA, 0, codec.lines(count), count, 1, 0)
        batch = CommandBatch(codec)
        closes = batch.add(header, Credential.unpack(bytes.fromhex(case["credential"])), bytes.fromhex(case["command"]))
        assert closes == (CLOSE in bytes.fromhex(case["command"])[16 :: codec.item_bytes][:count])
        columns = batch.columns()
        run = [
            [Kind(kind).name, key.tobytes().hex(), value.tobytes().hex()]
            for kind, key, value in zip(*columns, strict=True)
        ]
        assert run == case["run"]
        values = [bytes.fromhex(value or "").ljust(codec.params.value_bytes, b"\0") for _, value in case["answers"]]
        given = Answers(
            np.array([Status[status] for status, _ in case["answers"]], np.uint8),
            np.array([value is not None for _, value in case["answers"]]),
            as_rows("values", codec.params.value_bytes, values),
        )
        texts = batch.replies(given, case["first"], np.full(count, case["live"]))
        assert [text.hex() for text in texts] == [case["response"]]


@pytest.mark.parametrize("name", CASES)
def test_what_no_device_takes_is_refused_as_the_file_says(name):
    case, ends = CASES[name], Ends(CASES[name])
    for bad in case["refused_credentials"]:
        assert ends.device.hello(bytes.fromhex(bad["record"]), ends.map_id).hex() == bad["answer"]
    for bad in case["malformed"]:
        header = read_header(bytes.fromhex(bad["header"]))
        assert ends.client.codec.command_lines(header.type, header.lines, header.count) == 0
        assert refusal(header, Refusal.MALFORMED).hex() == bad["answer"]


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
        # also where the device refuses it and the client learns of that
        with pytest.raises(getattr(errors, bad["outcome"], errors.WrongKeyError)):
            Ends(CASES[name]).shake_hands(bytes.fromhex(bad["record"]), bad["step"])


def test_every_flag_is_explained_and_used():
    used = {bad["flag"] for case in CASES.values() for part in LISTS for bad in case[part]}
    assert used == set(DOCUMENT["flags"])


@pytest.mark.parametrize(
    "path",
    [
        ("keys", "confirmation"),
        ("client_key",),
        ("names_key",),
        ("rights", 1, "response"),
        ("rights", 0, "run", 3, 1),
        ("refused_credentials", 0, "answer"),
        ("malformed", 3, "answer"),
        ("handshake", 1),
        ("handshake", 2),
        ("handshake", 3),
        ("known",),
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
