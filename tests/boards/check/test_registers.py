"""The registers as documents, manifests and the driver have them, against omap.regmap."""

from functools import cache

import pytest

from boards.check import probe, registers
from boards.folder import registers as written
from omap.errors import InputError
from omap.presets import preset
from omap.regmap import BY_NAME, REGISTERS, identity
from rtl.rings.csr import Csr
from rtl.synth.verilog import to_verilog

MODE = {"hbm_private": True, "attested": False, "hardware": True}


def test_the_table_reads_back_as_it_was_written():
    found = registers.read_table(written.table())
    assert found == registers.wanted()
    assert list(found) == [register.name for register in REGISTERS]
    assert registers.differences("here", found) == []


def test_every_difference_is_told():
    text = written.table()
    moved = text.replace("| `0x48` | `MODE` |", "| `0x54` | `MODE` |")
    renamed = text.replace("`FAULT`", "`ERROR`")
    loosened = text.replace("| `STATUS` | read |", "| `STATUS` | read, write |")
    assert registers.differences("it", registers.read_table(moved)) == ["it has MODE at 0x54, it is at 0x48"]
    assert registers.differences("it", registers.read_table(renamed)) == [
        "it has a register ERROR, which is none",
        "it lacks the register FAULT",
    ]
    assert registers.differences("it", registers.read_table(loosened)) == [
        "it says of STATUS 'read, write', it is 'read'"
    ]


def test_the_driver_uses_registers_that_are_there_as_they_allow(monkeypatch):
    assert registers.driver_problems() == []
    used = registers.uses("read('MODE'); self.transport.write('REQUEST', 1); file.write('text'); f(read('x'))")
    assert used == [("read", "MODE"), ("write", "REQUEST")]
    monkeypatch.delitem(BY_NAME, "RING_LINES")
    assert any("driver.py reads a register RING_LINES, which is none" in one for one in registers.driver_problems())


def test_the_driver_must_not_write_what_can_only_be_read(monkeypatch):
    monkeypatch.setitem(BY_NAME, "REQUEST", BY_NAME["STATUS"])
    assert any("writes REQUEST, which allows read alone" in one for one in registers.driver_problems())


@cache
def verilog():
    return to_verilog(Csr(preset("TINY"), **MODE), "omap.csr")


IDENTITY = identity(preset("TINY"), **MODE)


def test_the_registers_in_the_verilog_answer_as_described():
    assert probe.problems(verilog(), IDENTITY) == []


def test_a_register_that_moved_in_the_verilog_is_found():
    at = BY_NAME["RING_LINES"].offset // 4
    assert f" == 10'h{at:03x}" in verilog()
    changed = verilog().replace(f" == 10'h{at:03x}", f" == 10'h{0x30 // 4:03x}")
    found = probe.problems(changed, IDENTITY)
    assert f"the word at 0x1c, RING_LINES, once written, reads 0x0; {probe.pattern(at):#x} was expected" in found
    assert any(one.startswith("the word at 0x30, no register, once written, reads ") for one in found)


def test_another_map_or_another_claim_is_found():
    other = identity(preset("SMALL"), **MODE | {"attested": True})
    found = probe.problems(verilog(), other)
    assert {one.split(", ")[1].split()[0] for one in found} == {"MODE", *(f"DIGEST_{word}" for word in range(8))}


def test_what_is_no_module_of_registers_is_refused():
    with pytest.raises(InputError, match="no modules of registers"):
        probe.problems("module csrx(a); input a; endmodule\n", IDENTITY)
    with pytest.raises(InputError, match="no port s_axi_control__"):
        probe.problems("module top.csr(a, b);\n  input a;\n  output b;\n  assign b = a;\nendmodule\n", IDENTITY)
