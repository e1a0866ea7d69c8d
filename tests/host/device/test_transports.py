"""What every transport must do, and what single transports do."""

import gc
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from host.device.driver import Driver
from host.device.restoring import begin_empty
from host.device.transport import load, names, open_transport
from host.keyfile import read_root_file
from host.model.model import ModelTransport
from host.model.model_process import _turn_away
from host.paramsfile import read_params_file
from omap.errors import DeviceError, InputError, ParamsError
from omap.presets import preset
from omap.regmap import IDENTITY, REGISTER_BYTES, Request, State
from omap.wire import LEAST_RING_LINES, LINE_BYTES
from tests.support.host import transports
from tests.support.host.clients import DriverClient, mixed
from tests.support.host.processes import children_of, gone
from tests.support.oracle import expected

SMALL = preset("SMALL")


@pytest.fixture(params=transports.NAMES)
def transport(request, params, key_file, tmp_path):
    fitting = transports.fitting(request.param, params, key_file)
    with transports.opened(request.param, fitting, key_file, tmp_path=tmp_path) as transport:
        yield transport


# -- contract -------------------------------------------------------------------------------------------------------


def test_registers_and_requests(transport):
    assert transport.read("IDENTITY") == IDENTITY
    assert transport.read("STATUS") == State.IDLE
    for request, state in [(Request.FORMAT, State.READY), (Request.FORMAT, State.READY), (Request.STOP, State.STOPPED)]:
        transport.write("REQUEST", request)
        end, turn = time.monotonic() + 600, 0
        while transport.read("REQUEST") != Request.NONE and time.monotonic() < end:
            transport.wait(0.02, turn)
            turn += 1
        assert transport.read("REQUEST") == Request.NONE
        assert transport.read("STATUS") == state


def test_the_buffer_is_shared_and_large_enough(transport):
    assert len(transport.buffer) >= transport.layout.size
    with Driver(transport, transport.layout.params) as driver:
        driver.start()
        assert any(transport.buffer[transport.layout.pages : transport.layout.size])


def test_operations_equal_those_of_a_table_while_rings_wrap(transport, key_file):
    oracle, params = {}, transport.layout.params
    with Driver(transport, params) as driver:
        driver.start()
        client = DriverClient(driver, read_root_file(key_file))
        for seed, (count, each) in enumerate([(1, 1), (7, 1), (8, 2), (9, 9), (30, 4), (1, 1), (100, 1), (100, 13)]):
            operations = mixed(params, seed, count)
            assert client.run(operations, each) == [
                expected(oracle, params.capacity, operation) for operation in operations
            ]
        assert driver.statistics.commands == 2 + 130 == driver.statistics.responses
        assert driver.in_flight == 0


def test_waiting_without_a_cause_ends(transport):
    for turn in range(3):
        transport.arm()
        transport.wait(0.01, turn)


def test_close_twice_then_nothing_works(transport):
    transport.close()
    transport.close()
    for use in (lambda: transport.read("STATUS"), lambda: transport.write("REQUEST", 1), transport.check):
        with pytest.raises(DeviceError, match=r"the device is gone: the transport was closed"):
            use()
    transport.notify()


# -- finding them ---------------------------------------------------------------------------------------------------


def test_transports_are_found_by_name():
    assert {"model", "process", "vfio", "xrt"} <= set(names())
    with pytest.raises(InputError, match=r"no transport is called 'pcie'; installed are .*model.*process.*vfio.*xrt"):
        load("pcie")


def test_options_that_a_transport_does_not_take_are_named(params, key_file):
    with pytest.raises(
        InputError, match="the transport 'model' takes no option 'device': leave it out, or take vfio and xrt"
    ):
        open_transport("model", params, key_file=key_file, device=1)


def test_a_process_with_a_journal_that_dies_is_no_loss(params, key_file):
    before = children()
    with Driver(open_transport("process", params, key_file=key_file, journal=True), params) as driver:
        begin_empty(driver)
        (child,) = children() - before
        os.kill(child, signal.SIGKILL)
        with pytest.raises(
            DeviceError, match=r"with code -9; start `omap serve` again, and it restores the map from its data folder"
        ) as gone_:
            driver.exchange(bytes(LINE_BYTES))
        assert "lost" not in str(gone_.value)


@pytest.mark.parametrize("name", ["model", "process"])
def test_models_need_a_usable_key_file(name, params, tmp_path):
    with pytest.raises(InputError, match="needs a root key file"):
        open_transport(name, params)
    with pytest.raises(InputError, match=r"none can't be read: No such file.*omap provision"):
        open_transport(name, params, key_file=tmp_path / "none")


# -- the process ----------------------------------------------------------------------------------------------------


def children():
    return children_of(os.getpid())


def test_a_process_leaves_nothing_behind(params, key_file):
    gc.collect()
    before, files = children(), len(os.listdir("/proc/self/fd"))
    transport = open_transport("process", params, key_file=key_file)
    (child,) = children() - before
    transport.close()
    assert gone(child)
    del transport
    gc.collect()
    assert children() == before
    assert len(os.listdir("/proc/self/fd")) == files


def test_a_process_that_dies_is_noticed(params, key_file):
    before = children()
    with Driver(open_transport("process", params, key_file=key_file), params) as driver:
        driver.start()
        (child,) = children() - before
        os.kill(child, signal.SIGKILL)
        with pytest.raises(
            DeviceError, match=r"the device is gone: its process has ended with code -9; the map is lost"
        ):
            driver.exchange(bytes(LINE_BYTES))


def test_signals_for_the_whole_group_leave_the_device_to_its_parent(params, key_file):
    before = children()
    with Driver(open_transport("process", params, key_file=key_file), params) as driver:
        driver.start()
        (child,) = children() - before
        os.kill(child, signal.SIGINT)
        os.kill(child, signal.SIGTERM)
        assert len(DriverClient(driver, read_root_file(key_file)).run(mixed(params, 1, 5))) == 5


def test_a_device_ends_when_its_parent_is_killed(key_file):
    script = (
        "import sys, time; from host.device.transport import open_transport; from omap.presets import preset\n"
        "transport = open_transport('process', preset('TINY'), key_file=sys.argv[1])\n"
        "print(transport._process.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, key_file], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(child)


def test_a_running_device_says_what_it_is_and_lets_in_one_driver(params, key_file, tmp_path):
    with transports.listening(params, key_file, tmp_path, ring_lines=LEAST_RING_LINES) as path:
        with open_transport("process", params, attach=path) as transport:
            assert transport.layout.ring_lines == LEAST_RING_LINES
            with pytest.raises(DeviceError, match=r"another driver is attached to this device: end it first"):
                open_transport("process", params, attach=path)
            with Driver(transport, params) as driver:
                driver.start()
        with pytest.raises(
            DeviceError, match=rf"other parameters: digest {params.digest.hex()}, not {SMALL.digest.hex()}"
        ):
            open_transport("process", SMALL, attach=path)
        with pytest.raises(subprocess.CalledProcessError) as refusal:
            subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "host.model.model_process",
                    "--listen",
                    path,
                    "--key-file",
                    key_file,
                    "--preset",
                    "TINY",
                ],
                check=True,
                capture_output=True,
                text=True,
            )
        assert "Address already in use; choose another file" in refusal.value.stderr
        with Driver(open_transport("process", params, attach=path), params) as driver:
            assert driver.state is State.READY
    with pytest.raises(
        DeviceError, match=r"no device can be reached at .*model_process --listen .* --key-file root.key"
    ):
        open_transport("process", params, attach=path)


def test_whoever_comes_after_a_driver_has_departed_is_not_turned_away(tmp_path):
    address = str(tmp_path / "device")
    ours, theirs = socket.socketpair()
    with ours, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        listener.setblocking(False)
        with theirs, socket.socket(socket.AF_UNIX) as comer:
            comer.connect(address)
            _turn_away(listener, ours)
            assert b"another driver is attached" in comer.recv(1000)
            theirs.send(b"\0")  # a byte that it has still sent does not hide that it has departed
        with socket.socket(socket.AF_UNIX) as comer:
            comer.connect(address)
            _turn_away(listener, ours)
            listener.accept()[0].close()


def test_a_socket_file_left_behind_is_replaced(params, key_file, tmp_path):
    command = [
        sys.executable,
        "-m",
        "host.model.model_process",
        "--listen",
        tmp_path / "device",
        "--key-file",
        key_file,
    ]
    first = subprocess.Popen([*command, "--preset", "TINY"], stdout=subprocess.PIPE)
    first.stdout.readline()
    first.kill()
    first.wait()
    first.stdout.close()
    assert (tmp_path / "device").is_socket()
    with transports.listening(params, key_file, tmp_path) as path:
        open_transport("process", params, attach=path).close()


# -- the model in this process --------------------------------------------------------------------------------------


def test_a_thread_that_fails_is_noticed(params, key_file, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
    with Driver(ModelTransport(params, read_root_file(key_file), ring_lines=LEAST_RING_LINES), params) as driver:
        driver.start()
        driver.transport.device.step = None  # not callable: the thread ends with an error
        with pytest.raises(DeviceError, match="the device is gone"):
            driver.exchange(bytes(LINE_BYTES))


# -- parameter files ------------------------------------------------------------------------------------------------


def test_parameter_files(tmp_path):
    import json

    path = tmp_path / "params.json"
    for values in (SMALL.to_dict(), {"params": SMALL.to_dict(), "reason": "because"}):
        path.write_text(json.dumps(values))
        assert read_params_file(path) == SMALL
    for text, error, match in [
        ("{", InputError, "is no JSON"),
        ("[]", ParamsError, "holds no object of parameters: `omap plan --json` writes one"),
        ("null", ParamsError, "holds no object"),
        ('{"params": 3}', ParamsError, "holds no object"),
        ("[" * 100_000, InputError, "is no JSON"),
        ("{}", ParamsError, "can't be used: not a parameter set: 'capacity', .* missing; `omap plan --json` writes"),
        ('{"params": {}}', ParamsError, "not a parameter set: 'capacity', .* missing; `omap plan --json` writes"),
        ('{"colour": 3}', ParamsError, "'colour' is no parameter of a map; there are capacity, key_bytes"),
        (json.dumps(SMALL.to_dict() | {"rule": []}), ParamsError, r"rule is \[\]; choose one of one_choice"),
        (json.dumps(SMALL.to_dict() | {"rule": None}), ParamsError, "rule is None; choose one of one_choice"),
        (json.dumps(SMALL.to_dict() | {"capacity": True}), ParamsError, "capacity is True; it must be a whole number"),
        (json.dumps(SMALL.to_dict() | {"pages": "5"}), ParamsError, "pages is '5'; it must be a whole number"),
    ]:
        path.write_text(text)
        with pytest.raises(error, match=match):
            read_params_file(path)
    with pytest.raises(InputError, match="can't be read"):
        read_params_file(tmp_path / "none")


def test_registers_fit_their_window():
    from host.model.shared import DEVICE_SLEEPS, HOST_WAITS, WINDOW_BYTES

    assert REGISTER_BYTES <= DEVICE_SLEEPS < HOST_WAITS < WINDOW_BYTES
