# amaranth: UnusedElaboratable=no
"""Designs have equal keys only if their text is the same, and a key that no comment changes."""

import enum
import importlib
import itertools
import sys
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from sim import design_key

TOY = {
    "toy/__init__.py": '"""A package."""\nfrom toy import unrelated\n',
    "toy/sizes.py": "WIDTH = 4\nTABLE = (1, 2)\nEXTRA = 2 * WIDTH\n",
    "toy/unrelated.py": "WIDTH = 4\n",
    "toy/late.py": "def added():\n    return 1\n",
    "toy/apart.py": "WIDTH = 4\n",
    "toy/inner.py": """
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from toy.sizes import EXTRA, WIDTH

def shown(value):
    return value

class Inner(wiring.Component):
    STEP = 3

    def __init__(self, depth):
        self.depth = depth
        super().__init__({"o": Out(16)})

    def elaborate(self, platform):
        from toy.late import added
        m = Module()
        m.d.sync += self.o.eq(shown(self.depth) * WIDTH + EXTRA + self.STEP + added())
        return m
""",
    "toy/outer.py": '''
"""A block around another."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from toy import sizes
from toy.inner import Inner

class Outer(wiring.Component):
    """A block."""

    def __init__(self, depth):
        self.inner = Inner(depth)
        super().__init__({"o": Out(16)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.inner = self.inner
        m.d.comb += self.o.eq(self.inner.o + sizes.TABLE[1])
        return m

def closed(constant):
    class Local(wiring.Component):
        o: Out(16)

        def elaborate(self, platform):
            m = Module()
            m.d.comb += self.o.eq(constant)
            return m

    return Local()
''',
}


def translate(component):
    """Stands for a translator; keys are made without it being called."""
    raise AssertionError("called")


def key_of(component):
    return design_key.design_key(component, translate)


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """Return a function that writes the package, with one text replaced, and imports ``toy.outer`` anew."""
    monkeypatch.setattr(design_key, "ROOT", tmp_path)
    monkeypatch.setattr(design_key, "PACKAGES", ("toy", *design_key.PACKAGES))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setattr(design_key, "_file", lambda name, file=design_key._file: (*file(name)[:2], next(times)))
    times = itertools.count()  # in place of a file's size: no edit may go unseen, however quick it was

    def load(name="toy/outer.py", old="", new=""):
        for path, text in TOY.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            assert path != name or old in text
            (tmp_path / path).write_text(text.replace(old, new, 1) if path == name and old else text)
        for module in [module for module in sys.modules if module.partition(".")[0] == "toy"]:
            del sys.modules[module]
        importlib.invalidate_caches()
        return importlib.import_module("toy.outer")

    yield load
    for module in [module for module in sys.modules if module.partition(".")[0] == "toy"]:
        del sys.modules[module]
    design_key._ours.cache_clear()


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("toy/outer.py", "    def elaborate", "    # A comment.\n\n    def elaborate"),
        ("toy/outer.py", '"""A block."""', '"""Another docstring."""'),
        ("toy/outer.py", '"""A block around another."""', ""),
        ("toy/inner.py", "def shown(value):\n", 'def shown(value):\n    """Return it."""\n'),
        ("toy/inner.py", "    STEP = 3\n", '    STEP = 3\n    """Added to each."""\n'),
        ("toy/sizes.py", "TABLE = (1, 2)", "TABLE = (\n    1,\n    2,\n)"),
        ("toy/unrelated.py", "WIDTH = 4", "WIDTH = 5"),
        ("toy/__init__.py", "from toy import unrelated", "import toy.unrelated as other"),
    ],
)
def test_what_changes_no_circuit_changes_no_key(toy, name, old, new):
    before = key_of(toy().Outer(3))
    local = key_of(toy().closed(3))
    assert before is not None
    assert local is not None
    assert key_of(toy(name, old, new).Outer(3)) == before
    assert key_of(toy(name, old, new).closed(3)) == local


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("toy/outer.py", "TABLE[1]", "TABLE[0]"),
        ("toy/outer.py", "self.o.eq(constant)", "self.o.eq(constant + 1)"),
        ("toy/inner.py", "return value", "return value + 1"),
        ("toy/inner.py", "STEP = 3", "STEP = 4"),
        ("toy/sizes.py", "WIDTH = 4", "WIDTH = 5"),
        ("toy/sizes.py", "(1, 2)", "(1, 3)"),
        ("toy/late.py", "return 1", "return 2"),
    ],
)
def test_what_may_change_a_circuit_changes_its_key(toy, name, old, new):
    before = key_of(toy().Outer(3))
    assert key_of(toy().Outer(3)) == before
    assert key_of(toy(name, old, new).Outer(3)) != before


def test_a_name_imported_from_a_package_reaches_the_package_itself(toy):
    used = ("toy/outer.py", "from toy import sizes\n", "from toy import sizes, unrelated as _\nfrom toy import FOUND\n")
    before = key_of(toy(*used[:2], used[2].replace("from toy import FOUND\n", "")).Outer(3))
    TOY["toy/__init__.py"], kept = "FOUND = 1\n", TOY["toy/__init__.py"]
    try:
        one = key_of(toy(*used).Outer(3))
        TOY["toy/__init__.py"] = "FOUND = 2\n"
        assert len({before, one, key_of(toy(*used).Outer(3))}) == 3
    finally:
        TOY["toy/__init__.py"] = kept


def test_a_module_that_somebody_else_imports_changes_no_key(toy):
    """Else the key of a design would depend on the tests that ran before."""
    outer = toy("toy/outer.py", "from toy import sizes\n", "from toy import __doc__ as text, sizes\n")
    before = key_of(outer.Outer(3))
    name = "apart"  # apart, because the key of a design of this file follows the imports in it
    assert name not in vars(sys.modules["toy"])
    importlib.import_module(f"toy.{name}")
    assert name in vars(sys.modules["toy"])
    assert key_of(outer.Outer(3)) == before


def test_parameters_count_wherever_they_are(toy):
    outer = toy()
    keys = {key_of(component) for component in (outer.Outer(3), outer.Outer(4), outer.closed(3), outer.closed(4))}
    assert len(keys) == 4
    assert None not in keys
    assert key_of(outer.closed(4)) in keys


def test_what_a_test_replaces_counts(toy, monkeypatch):
    outer = toy()
    inner, sizes = sys.modules["toy.inner"], sys.modules["toy.sizes"]
    before = key_of(outer.Outer(3))
    replacements = [
        (inner, "WIDTH", 5),
        (sizes, "TABLE", (1, 3)),
        (sizes, "EXTRA", 9),
        (inner, "shown", lambda value: value + 1),
        (inner, "shown", lambda value: value + 2),
        (inner.Inner, "STEP", 4),
        (inner.Inner, "elaborate", lambda self, platform: Module()),
        (outer.Outer, "elaborate", inner.Inner.elaborate),
    ]
    keys = {before}
    for place, name, value in replacements:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, value)
            keys.add(key_of(outer.Outer(3)))
    assert len(keys) == 1 + len(replacements)
    assert key_of(outer.Outer(3)) == before


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Settings:
    width: int
    name: str = "a"


class Holder(wiring.Component):
    """Holds anything."""

    def __init__(self, *held):
        self.held = held
        super().__init__({"o": Out(1)})


def test_values_of_all_kinds_are_told_apart():
    one, other = Signal(8, name="one"), Signal(8, name="one")
    nested = [Holder(1), Holder(2), Holder([1]), Holder((1,)), Holder("1"), Holder(b"1"), Holder(1.0), Holder(True)]
    held = [
        *[(value,) for value in (0, 1, -1, None, "", "None", (), [], {}, set(), {1}, {2}, frozenset({1}))],
        *[(value,) for value in ({1: 2}, {2: 1}, {1: [2]}, [[1], 2], [[1, 2]], [1, [2]], range(3), slice(1, 2))],
        *[
            (value,)
            for value in (Colour, Colour.RED, Colour.BLUE, Settings(1), Settings(2), Settings(1, "b"), Settings)
        ],
        *[(value,) for value in (np.arange(3), np.arange(4), np.zeros(3, int), np.uint8(1), np.uint16(1))],
        *[(value,) for value in (Signal(8, name="x"), Signal(9, name="x"), Signal(8, init=1, name="x"), Signal(8))],
        *[(value,) for value in ({"blocks": [block]} for block in nested)],
        *[(value,) for value in (Fraction(37, 4), Fraction(37, 8), Fraction(4))],
        *[(lambda: 1,), (lambda: 2,), (len,), (max,), (one.eq(other),)],
        (one, one),
        (one, other),
    ]
    keys = [key_of(Holder(*values)) for values in held]
    assert None not in keys
    for (a, key), (b, another) in itertools.combinations(zip(held, keys, strict=True), 2):
        assert key != another, f"{a} and {b} have the same key"


def test_values_without_a_known_state_leave_a_design_without_a_key(tmp_path):
    with (tmp_path / "file").open("w") as file:
        for value in (file, iter([1]), (x for x in ()), object(), __import__("random").Random(1), memoryview(b"1")):
            assert (key_of(Holder(value)) is None) == (type(value) is not object), value
            assert (key_of(Holder([{"deep": (value,)}])) is None) == (type(value) is not object), value
    endless = []
    endless.append(endless)
    assert key_of(Holder(endless)) is None


def test_a_key_is_the_same_in_another_process_and_for_another_object(toy):
    import subprocess

    program = (
        "from tests.rtl.memory.test_free_list import Taker\nfrom sim.design_key import design_key\n"
        "from sim.bench.verilog import simulation_verilog\nfrom tests.rtl.memory.test_free_list import SHAPE\n"
        "print(design_key(Taker(SHAPE), simulation_verilog))"
    )
    root = design_key.Path(__file__).parents[2]
    keys = {
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=root,
            env={"PYTHONHASHSEED": str(seed), "PYTHONPATH": str(root)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in (1, 2)
    }
    assert len(keys) == 1
    assert keys != {"None\n"}
