"""The stand-in: a hash table with the answers of a map, which nobody gets by accident."""

import logging
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from host.device.driver import Driver
from host.device.transport import open_transport
from host.keyfile import write_root_file
from host.model import table
from omap.errors import FaultError, InputError
from omap.operations import Kind, Operation, Status
from omap.presets import preset
from omap.regmap import BY_NAME, MIRROR, REGISTER_BYTES, RegisterFile
from omap.wire import BufferLayout
from tests.support.omap_maps import tight
from tests.support.oracle import expected
from tests.support.sessions import ROOT_KEY

RULE = preset("TINY").rule


@settings(max_examples=60)
@given(name=st.sampled_from(["TINY", "SMALL", "WIDE"]), seed=st.integers(0, 2**32 - 1), spread=st.integers(2, 90))
def test_a_table_answers_as_a_dict_does(name, seed, spread):
    params, rng, oracle = tight(name, RULE), random.Random(seed), {}
    subject = table.TableMap(params)
    for _ in range(6):
        batch = [
            Operation(
                Kind(rng.randrange(4)),
                rng.randrange(spread).to_bytes(params.key_bytes, "big"),
                rng.randbytes(params.value_bytes),
            )
            for _ in range(rng.randrange(1, 80))
        ]
        wanted = [expected(oracle, params.capacity, operation) for operation in batch]
        before = subject.sequence
        assert subject.execute(batch) == wanted
        assert (subject.sequence, len(subject)) == (before + len(batch), len(oracle))
    subject.format()
    assert len(subject) == 0
    assert subject.execute([Operation(Kind.GET, bytes(params.key_bytes))])[0].status is Status.NOT_FOUND


@given(seed=st.integers(0, 2**32 - 1))
def test_an_export_has_all_tuples_and_as_many_slots_as_a_map(seed):
    params, rng = tight("SMALL", RULE), random.Random(seed)
    subject, oracle = table.TableMap(params), {}
    for _ in range(100):
        operation = Operation(
            Kind(rng.randrange(4)), rng.randrange(50).to_bytes(8, "big"), rng.randbytes(params.value_bytes)
        )
        subject.execute([operation])
        expected(oracle, params.capacity, operation)
    (columns,) = subject.export()
    assert len(columns.kinds) == params.slots
    used = columns.kinds == Kind.PUT
    keys, values = (part[used] for part in columns[1:])
    assert {key.tobytes(): value.tobytes() for key, value in zip(keys, values, strict=True)} == oracle
    assert not any(part[~used].any() for part in columns)


def test_what_was_erased_is_gone():
    subject = table.TableMap(preset("TINY"))
    subject.erase()
    with pytest.raises(FaultError, match="was erased"):
        subject.execute([Operation(Kind.NOP)])


def test_the_device_says_what_it_is():
    layout = BufferLayout(preset("TINY"), 128)
    buffer = bytearray(layout.size)
    device = table.TableDevice(preset("TINY"), ROOT_KEY, buffer, ring_lines=128)
    for registers in (device.registers, RegisterFile(buffer[MIRROR : MIRROR + REGISTER_BYTES])):
        said = {
            field.name: BY_NAME["MODE"].field(field.name, registers.read("MODE")) for field in BY_NAME["MODE"].fields
        }
        assert said == {"hbm_private": 0, "attested": 0, "hardware": 0, "insecure": 1, "journal": 0}


def test_nobody_gets_it_without_asking_for_it(tmp_path, caplog):
    write_root_file(key_file := tmp_path / "root.key")
    with pytest.raises(InputError, match="no oblivious map, but an open hash table .* add --insecure"):
        open_transport("table", preset("TINY"), key_file=key_file)
    with pytest.raises(
        InputError, match="the transport 'process' takes no option 'insecure': leave it out, or take table"
    ):
        open_transport("process", preset("TINY"), key_file=key_file, insecure=True)
    with (
        caplog.at_level(logging.WARNING),
        open_transport("table", preset("TINY"), key_file=key_file, insecure=True) as transport,
    ):
        assert "INSECURE: an open table stands in for the map. It hides nothing" in caplog.text
        driver = Driver(transport, preset("TINY"))
        driver.start()
        assert driver.mode["insecure"]
        driver.close()


def test_no_model_is_called_so(tmp_path):
    write_root_file(key_file := tmp_path / "root.key")
    with pytest.raises(InputError, match="no model is called 'table'"):
        open_transport("process", preset("TINY"), key_file=key_file, model="table")
