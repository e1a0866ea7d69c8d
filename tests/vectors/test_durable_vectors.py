"""Journals, snapshots and restores of the file: generated again, checked independently, followed by a device's end."""

import ast
import copy
import json
from pathlib import Path

import pytest

from omap.bodies import unpack_columns
from omap.operations import Kind
from omap.params import Params
from omap.restore import Restore
from omap.wire import RecordCodec, Refusal, read_header
from tests.vectors import generate_durable, verify_durable

HERE = Path(__file__).parent
DOCUMENT = json.loads((HERE / "durable.json").read_text())
CASES = {case["name"]: case for case in DOCUMENT["cases"]}


def test_the_file_is_what_is_generated():
    assert json.loads(json.dumps(generate_durable.document())) == DOCUMENT


def test_an_independent_implementation_agrees():
    verify_durable.verify(HERE / "durable.json")


@pytest.mark.parametrize("name", CASES)
def test_a_restore_takes_and_refuses_what_the_file_says(name):
    case = CASES[name]
    codec, root_key = RecordCodec(Params.from_dict(case["parameters"])), bytes.fromhex(case["root_key"])
    for one in case["restores"]:
        restore, operations = Restore(codec, root_key), 0
        for place, record in enumerate(bytes.fromhex(case["records"][each]) for each in one["records"]):
            found = restore.take(read_header(record), record)
            if isinstance(found, Refusal):
                assert restore.failed
                assert (one["refused"]["record"], one["refused"]["refusal"]) == (place, found.name), one
                break
            operations += len(unpack_columns(codec, found).kinds)
        else:
            assert one["refused"] is None, one
            assert restore.complete
            assert operations == one["operations"]
            assert [[each.map_id.hex(), each.kept] for each in restore.lineage.ancestors] == one["ancestors"]


@pytest.mark.parametrize("name", CASES)
def test_every_kind_is_there_and_every_flag_is_explained_and_used(name):
    case = CASES[name]
    ran = {operation[0] for one in case["journalled"] for operation in one["ran"]}
    statuses = {status for one in case["journalled"] for status in one["statuses"]}
    assert (ran, statuses) == ({kind.name for kind in Kind}, {"OK", "NOT_FOUND", "FULL"})
    refused = [one["refused"] for one in case["restores"] if one["refused"]]
    assert {one["flag"] for one in refused} == set(DOCUMENT["flags"])
    assert {one["refusal"] for one in refused} == {"MALFORMED", "ALTERED", "OUT_OF_TURN", "RESTORE_FAILED"}


@pytest.mark.parametrize(
    "path",
    [
        ("records", "one 2"),
        ("records", "late snapshot 1"),
        ("journalled", 1, "ran", 0, 1),
        ("journalled", 1, "operation"),
        ("snapshots", 0, "slots", 3, 2),
        ("restores", 0, "ancestors", 0, 1),
        ("restores", 0, "operations"),
        ("restores", -1, "refused", "record"),
        ("restores", -1, "refused", "refusal"),
    ],
)
def test_the_independent_implementation_notices_a_wrong_file(path, tmp_path):
    wrong = copy.deepcopy(DOCUMENT)
    place = wrong["cases"][1]
    if path[0] == "journalled":  # one that is an effect
        place["journalled"] = [
            one for one in place["journalled"] if [one["ran"][0][0], one["statuses"][0]] == ["PUT", "OK"]
        ]
    for part in path[:-1]:
        place = place[part]
    old = place[path[-1]]
    if isinstance(old, int):
        place[path[-1]] = old + 1
    else:
        place[path[-1]] = "ALTERED" if path[-1] == "refusal" else old[:-1] + ("0" if old[-1:] != "0" else "1")
    assert place[path[-1]] != old
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    with pytest.raises(AssertionError, match=r"wrong\.json: long"):
        verify_durable.verify(tmp_path / "wrong.json")


def test_it_shares_nothing_with_the_package():
    tree = ast.parse((HERE / "verify_durable.py").read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} <= {
        "functools",
        "hashlib",
        "json",
        "pathlib",
        "struct",
        "sys",
        "verify_session",
    }
