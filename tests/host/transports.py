"""Every transport, opened on a fresh device: the list that the contract of transports runs over."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from host.keyfile import read_key_file
from host.model import ModelTransport
from host.transport import open_transport
from tests.host.fake_pyxrt import FakeXrt
from tests.host.fake_vfio import FakeVfio

NAMES = ("model", "stepped", "process", "attached", "xrt", "vfio", pytest.param("rtl", marks=pytest.mark.long))
"""The accelerator takes minutes to compile, for parameters that no other test needs."""


@contextmanager
def opened(name, params, key_file, ring_entries=8, tmp_path=None):
    """Open a transport by name."""
    match name:
        case "model" | "process" | "rtl":
            transport = open_transport(name, params, ring_entries=ring_entries, key_file=key_file)
        case "stepped":
            transport = ModelTransport(params, read_key_file(key_file), ring_entries=ring_entries, stepped=True)
        case "attached":
            with (
                listening(params, key_file, tmp_path, ring_entries) as path,
                open_transport("process", params, attach=path) as transport,
            ):
                yield transport
            return
        case "xrt":
            with (
                FakeXrt(params, read_key_file(key_file)) as fake,
                open_transport("xrt", params, ring_entries=ring_entries, xclbin=fake.xclbin(tmp_path)) as transport,
            ):
                yield transport
            return
        case "vfio":
            with (
                FakeVfio(tmp_path, params, read_key_file(key_file)) as machine,
                open_transport("vfio", params, ring_entries=ring_entries, system=machine) as transport,
            ):
                yield transport
            return
    with transport:
        yield transport


@contextmanager
def listening(params, key_file, tmp_path, ring_entries=8):
    """Run a device that outlives its drivers, at the socket file that is yielded."""
    path, file = tmp_path / "device", tmp_path / "params.json"
    file.write_text(json.dumps(params.to_dict()))
    command = [sys.executable, "-m", "host.model_process", "--listen", path, "--key-file", key_file]
    command += ["--params", file, "--ring-entries", str(ring_entries)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"omap: device ready at {path}\n"
        yield path
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()
        assert not path.exists()
