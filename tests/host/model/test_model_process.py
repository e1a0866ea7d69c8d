"""The model's process ends with the process that started it, whatever it is doing; its errors are those of `omap`."""

import json
import os
import socket
import subprocess
import sys

import pytest
from click.testing import CliRunner

from host.model.model_process import main
from omap.presets import preset
from omap.wire import LEAST_RING_LINES

PROGRAM = """
import sys, time
from host.model import model_process

def slow(*arguments):
    print("making the map", flush=True)
    while True:
        time.sleep(0.01)

model_process._Program = slow
model_process._serve_parent(int(sys.argv[1]))
"""


def test_a_map_that_is_being_made_does_not_outlive_whoever_wanted_it(tmp_path):
    """A large map takes minutes and all memory; nobody would know of a process that goes on making it."""
    mine, its = socket.socketpair()
    with its:
        line = [sys.executable, "-c", PROGRAM, str(its.fileno())]
        child = subprocess.Popen(line, pass_fds=[its.fileno()], stdout=subprocess.PIPE, text=True)
    try:
        order = {"params": preset("TINY").to_dict(), "ring_lines": LEAST_RING_LINES, "key_file": os.devnull}
        order |= {"model": "reference", "journal": False}
        mine.sendall(json.dumps(order).encode() + b"\n")
        assert child.stdout.readline() == "making the map\n"
        mine.close()
        assert child.wait(60) == 0
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


LISTEN = ["--listen", "device.sock"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (LISTEN, "give --listen FILE, --key-file FILE, and either --preset NAME or --params FILE"),
        ([*LISTEN, "--key-file", "root.key", "--preset", "TINY", "--params", "plan.json"], "give --listen FILE, "),
        ([*LISTEN, "--key-file", "no.key", "--preset", "TINY"], "the key file no.key "),
        ([*LISTEN, "--key-file", "no.key", "--preset", "LARGE"], "preset"),
    ],
)
def test_an_error_is_a_line_with_the_prefix_and_the_exit_code_of_other_commands(tmp_path, monkeypatch, arguments, says):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("omap: ")
    assert result.stderr.count("\n") == 1
    assert says in result.stderr
    assert not result.stdout
