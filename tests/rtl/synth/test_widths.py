"""Explicit widths change nothing: the synthesiser proves it on a component with all sorts of operators."""

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Cat, Module, Mux, Signal, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from rtl.synth.netlist import SynthesisError, yosys
from rtl.synth.ports import ports_of
from rtl.synth.verilog import to_verilog
from rtl.synth.widths import equalised


class Operators(wiring.Component):
    """Operands of unequal widths and signs, everywhere Amaranth allows them."""

    def __init__(self):
        super().__init__(
            {
                "a": In(unsigned(5)),
                "b": In(unsigned(9)),
                "c": In(signed(4)),
                "d": In(signed(7)),
                "e": In(unsigned(2)),
                "o": Out(unsigned(40)),
                **{f"o{index}": Out(signed(20)) for index in range(22)},
            }
        )

    def elaborate(self, platform):
        m = Module()
        a, b, c, d, e = self.a, self.b, self.c, self.d, self.e
        held = Signal(6)
        m.d.sync += held.eq(held + e - (a == 3))
        values = [
            a + b, a - b, c + d, a + c, d - a, a * e, c * a, a & b, c | a, c ^ d, ~c, -a, -c,
            a << e, c << e, b >> e, d >> e, b.bit_select(e, 1), b.word_select(e, 3), Mux(c < a, a, d),
            Cat(a == b, c == d, c != 0, a < c, d >= b, held == 0), held - c,
        ]  # fmt: skip
        m.d.comb += [getattr(self, f"o{index}").eq(value) for index, value in enumerate(values)]
        m.d.comb += self.o.eq(Cat(held, a + held, b[1:4]))
        return m


def prove_equal(tmp_path, changed):
    component = Operators()
    text = rtlil.convert(component, name="top", ports=ports_of(component), emit_src=False)
    (tmp_path / "gold.il").write_text(text)
    (tmp_path / "gate.v").write_text(changed(text))
    prepare = "proc; flatten; opt_clean"
    script = [
        f"read_rtlil gold.il; {prepare}; rename top gold; design -stash gold",
        f"read_verilog gate.v; {prepare}; rename top gate; design -stash gate",
        "design -copy-from gold gold; design -copy-from gate gate",
        "equiv_make gold gate both; hierarchy -top both; opt_clean; equiv_simple -seq 2; equiv_status -assert",
    ]
    yosys(["-q", "-p", "; ".join(script)], tmp_path)


def test_the_verilog_is_the_component(tmp_path):
    prove_equal(tmp_path, lambda text: to_verilog(Operators(), "top"))


def test_the_proof_sees_a_change(tmp_path):
    verilog = to_verilog(Operators(), "top")
    changed = verilog.replace("1'h0, a }", "1'h1, a }", 1)
    assert changed != verilog
    with pytest.raises(SynthesisError):
        prove_equal(tmp_path, lambda text: changed)


def test_nothing_is_left_to_extend():
    component = Operators()
    once = equalised(rtlil.convert(component, name="top", ports=ports_of(component), emit_src=False))
    assert equalised(once) == once
