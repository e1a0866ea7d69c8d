"""The transcripts of maps: generated again, and checked by a model that shares nothing with the map."""

import ast
import copy
import json
from pathlib import Path

import pytest

from tests.vectors import generate, verify

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", generate.CASES)
def test_the_map_still_gives_the_transcript(name):
    expected = json.loads((HERE / f"{name}.json").read_text())
    assert json.loads(json.dumps(generate.transcript(name, generate.CASES[name]))) == expected


@pytest.mark.parametrize("name", generate.CASES)
def test_an_independent_model_gives_the_transcript(name):
    verify.verify(HERE / f"{name}.json")


def test_the_transcripts_go_everywhere():
    statuses, kinds = set(), set()
    for name in generate.CASES:
        case = json.loads((HERE / f"{name}.json").read_text())
        statuses |= {status for status, _ in case["responses"]}
        kinds |= {kind for kind, _, _ in case["operations"]}
    assert statuses == {"OK", "NOT_FOUND", "FULL"}
    assert kinds == {"NOP", "GET", "PUT", "DELETE"}


@pytest.mark.parametrize("what", ["responses", "pages", "host_sha256", "parameters_digest"])
def test_the_independent_model_notices_a_wrong_transcript(what, tmp_path):
    case = json.loads((HERE / "one_choice_tiny.json").read_text())
    wrong = copy.deepcopy(case)
    if what in ("responses", "pages"):
        wrong[what][150] = case[what][151] if case[what][151] != case[what][150] else [9]
    else:
        wrong[what] = "00" * 32
    (tmp_path / "wrong.json").write_text(json.dumps(wrong))
    with pytest.raises(AssertionError, match=r"wrong\.json"):
        verify.verify(tmp_path / "wrong.json")


def test_the_independent_model_shares_nothing_with_the_map():
    tree = ast.parse((HERE / "verify.py").read_text())
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} == {"cryptography", "hashlib", "json", "pathlib", "sys"}
