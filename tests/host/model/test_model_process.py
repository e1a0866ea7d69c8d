"""The model's process ends with the process that started it, whatever it is doing."""

import json
import os
import socket
import subprocess
import sys

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
