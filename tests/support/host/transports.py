"""Every transport, opened on a fresh device: the list that the contract of transports runs over.

Among them are the transports of both cards with the generated top of the card behind them, compiled and simulated.
"""

import json
import subprocess
import sys
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import pytest

from host.device import vfio, xrt
from host.device.transport import open_transport
from host.keyfile import read_root_file
from host.model.model import ModelTransport
from omap.wire import LEAST_RING_LINES
from tests.support.boards.top_run import KEY, DirectRun, VitisRun
from tests.support.host.cards import ModelCard, RunCard
from tests.support.host.fake_pyxrt import FakeXrt
from tests.support.host.fake_vfio import FakeVfio
from tests.support.host.keys import root_file
from tests.support.rtl.engines import JOURNALLED, TIGHT
from tests.support.rtl.shared import shared_engines

TOPS = ("xrt on the kernel", "vfio on the card")
"""Transports of cards whose top is simulated."""

SIMULATED = ("rtl", *TOPS)

NAMES = ("model", "stepped", "process", "attached", "xrt", "vfio", "rtl")
NAMES += tuple(pytest.param(name, marks=pytest.mark.long) for name in TOPS)  # each takes minutes to compile

PATIENCE = 600.0
"""Seconds, instead of a few, that the drivers of cards grant a simulation."""

HBM_LATE = 5
"""Accesses to registers until HBM has come up."""


def fitting(name, params, key_file):
    """Return parameters that a transport can be opened with: those of the compiled design, if there is one.

    The root key of a top is compiled into it; this function writes that key into the file.
    """
    if name in TOPS:
        root_file(key_file, KEY)
    return TIGHT.params if name in SIMULATED else params


@contextmanager
def opened(name, params, key_file, ring_lines=LEAST_RING_LINES, tmp_path=None, observer=None, journal=False):
    """Open a transport by name, to a device with a journal or without one. A card's has an attribute ``machine``.

    There are more than six parameters, because each of the last ones is an option that few tests give.

    An observer records the accesses of a device model to the pages.
    """
    key, config = read_root_file(key_file), JOURNALLED if journal else TIGHT
    with ExitStack() as stack:
        match name:
            case "model" | "stepped":
                transport = ModelTransport(
                    params, key, ring_lines=ring_lines, stepped=name == "stepped", observer=observer, journal=journal
                )
            case "process" | "rtl":
                stack.enter_context(shared_engines())  # of "rtl"
                options = {"journal": True} if journal else {}
                transport = open_transport(name, params, ring_lines=ring_lines, key_file=key_file, **options)
            case "attached":
                path = stack.enter_context(listening(params, key_file, tmp_path, ring_lines, journal=journal))
                transport = open_transport("process", params, attach=path)
            case "xrt" | "xrt on the kernel":
                card = ModelCard(params, key, observer=observer, journal=journal)
                if name in TOPS:
                    card = RunCard(lambda: VitisRun(config, ring_lines=ring_lines, start=False))
                    patient(stack, xrt, "_SHOW_SECONDS", "_STOP_SECONDS")
                machine = stack.enter_context(FakeXrt(params, key, card=card))
                options = {"xclbin": machine.xclbin(tmp_path)}
                transport = open_transport("xrt", params, ring_lines=ring_lines, **options)
                transport.machine = machine
            case "vfio" | "vfio on the card":
                card = ModelCard(params, key, observer=observer, journal=journal)
                if name in TOPS:
                    card = RunCard(lambda: DirectRun(config, ring_lines=ring_lines, opened=False), hbm_late=HBM_LATE)
                    patient(stack, vfio, "_WAKE_SECONDS", "_SHOW_SECONDS", "_STOP_SECONDS")
                machine = stack.enter_context(FakeVfio(tmp_path, params, key, card=card))
                transport = open_transport("vfio", params, ring_lines=ring_lines, system=machine)
                transport.machine = machine
        if name in TOPS:
            transport.patience = PATIENCE / 10  # of ten seconds, which is a driver's own
        with transport:
            yield transport


def patient(stack, module, *limits):
    """Grant more time than a card needs."""
    for limit in limits:
        stack.enter_context(patch.object(module, limit, PATIENCE))


@contextmanager
def listening(params, key_file, tmp_path, ring_lines=LEAST_RING_LINES, journal=False):
    """Run a device that outlives its drivers, at the socket file that is yielded."""
    path, file = tmp_path / "device", tmp_path / "params.json"
    file.write_text(json.dumps(params.to_dict()))
    command = [sys.executable, "-m", "host.model.model_process", "--listen", path, "--key-file", key_file]
    command += ["--params", file, "--ring-lines", str(ring_lines), *(["--journal"] if journal else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"omap: device ready at {path}\n"
        yield path
    finally:
        process.terminate()
        assert process.wait(20) == 0
        process.stdout.close()
        assert not path.exists()
