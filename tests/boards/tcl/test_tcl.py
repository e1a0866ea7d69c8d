"""Scripts are run without the tools, and what they may not do is an error that says where."""

import sys

import pytest

from boards.tcl.interpreter import PLAIN, ScriptError, ScriptStoppedError, Tool
from boards.tcl.signatures import Signature, command
from omap.errors import InputError


class Shop(Tool):
    PROPERTIES = {"box": {"size": r"\d+"}}  # noqa: RUF012

    @command("make", "-small -of=! name more*")
    def make(self, call):
        return self.add("box", call.words[0]).handle

    @command("all")
    def every(self, call):
        return tuple(box.handle for box in self.all("box"))

    @command("tidy")
    def tidy(self, call):
        self.after("make")

    @command("read", "name")
    def read(self, call):
        self._source(call.words[0], self.commands(), PLAIN, {})


def run(folder, text, **options):
    (folder / "a.tcl").write_text(text)
    shop = Shop(folder, present=("taken.v",), absent=("gone.v",))
    shop.run("a.tcl", **options)
    return shop


def test_what_a_script_did_is_recorded(tmp_path):
    text = """
set here [file dirname [file normalize [info script]]]
foreach name {one two} {
    set_property size 3 [make -of $here/x $name]
}
proc bigger {boxes} { set_property -dict {size 44} $boxes }
bigger [all]
tidy
puts "[llength [all]] $::env(KEY)"
"""
    shop = run(tmp_path, text, environment={"KEY": "a b"})
    assert [(box.name, box.properties, box.place) for box in shop.all("box")] == [
        ("one", {"size": "44"}, "a.tcl, line 4"),
        ("two", {"size": "44"}, "a.tcl, line 4"),
    ]
    assert [call.words for name, _, call in shop.calls if name == "puts"] == [["2 a b"]]
    assert next(call.options for name, _, call in shop.calls if name == "make") == {"-of": f"{tmp_path}/x"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("\nsell x", "a.tcl, line 2: invalid command name"),
        ("make -of x", "line 1: make: 0 arguments came, 1 to more"),
        ("all x", "line 1: all: 1 arguments came, 0 to 0"),
        ("make x", "line 1: make: option -of is missing"),
        ("make -of", "line 1: make: option -of has no value"),
        ("make -of x -of y z", "line 1: make: option -of is given twice"),
        ("make -of x -large y", "line 1: make: there is no option -large"),
        ("make -of x y\nmake -of x \\\n  y", "line 2: make: there is a box y already, from a.tcl, line 1"),
        ("tidy", "line 1: tidy: make must come before"),
        ("set_property size 3 box:y", "line 1: set_property: 'box:y' is no object"),
        ("set_property size 3 {}", "there is no object"),
        ("make -of x y\nset_property size x box:y", "line 2: set_property: property size of box y can't be 'x'"),
        ("make -of x y\nset_property hue 3 box:y", "line 2: set_property: a box has no property hue"),
        ("make -of x y\nset_property -dict {size} box:y", "has a name without a value"),
        ("puts $nothing", "no such variable"),
        ("foreach x {1 2} {\n  if {$x == 2} {\n  make\n  }\n}", "a.tcl, line 3: make"),
        ("read b.xdc", "b.xdc, line 2: invalid command name"),
    ],
)
def test_what_does_not_fit_is_an_error_with_its_line(tmp_path, text, error):
    (tmp_path / "b.xdc").write_text("all\nif 1 {all}\n")
    with pytest.raises(ScriptError) as raised:
        run(tmp_path, text)
    assert error in str(raised.value)
    assert not isinstance(raised.value, ScriptStoppedError)


@pytest.mark.parametrize("word", ["exec ls", "open x w", "source b", "socket a 1", "cd /", "exit", "load x", "glob *"])
@pytest.mark.parametrize("way", ["{}", "catch {{{}}}", "eval {{{}}}", "interp eval {{}} {{{}}}"])
def test_a_script_reaches_nothing_outside_and_hides_no_error(tmp_path, word, way):
    with pytest.raises(ScriptError, match="invalid command name"):
        run(tmp_path, way.format(word))


@pytest.mark.parametrize("word", ["delete x", "rename x y", "copy x y", "attributes x", "mkdir a b"])
def test_files_are_looked_at_alone(tmp_path, word):
    with pytest.raises(ScriptError, match="file"):
        run(tmp_path, f"file {word}")
    assert list(tmp_path.iterdir()) == [tmp_path / "a.tcl"]


def test_files_are_there_or_taken_to_be(tmp_path):
    (tmp_path / "gone.v").touch()
    (tmp_path / "here.v").touch()
    text = "foreach name {taken.v gone.v here.v none.v a/../here.v} {puts [file exists $name]}"
    shop = run(tmp_path, text)
    assert [call.words for name, _, call in shop.calls if name == "puts"] == [["1"], ["0"], ["1"], ["0"], ["1"]]


def test_a_script_that_stops_itself_says_why(tmp_path):
    with pytest.raises(ScriptStoppedError, match="a.tcl, line 2: no key"):
        run(tmp_path, "puts x\nerror {no key}")


def test_a_script_without_end_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("boards.tcl.interpreter.LONGEST_SECONDS", 1)
    with pytest.raises(ScriptError, match="time limit"):
        run(tmp_path, "proc again {} {again2}\nproc again2 {} {foreach x [lsort [info commands]] {again3}}\n"
            "proc again3 {} {foreach x [info commands] {foreach y [info commands] {foreach z [info commands] {"
            "foreach w [info commands] {set a 1}}}}}\nagain")  # fmt: skip


def test_a_mistake_of_ours_is_not_taken_for_one_of_the_script(tmp_path, monkeypatch):
    monkeypatch.setattr(Tool, "after", lambda self, *names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, "tidy")


def test_without_tkinter_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(InputError, match="python3-tk"):
        run(tmp_path, "all")


def test_options_may_be_repeated_where_they_say_so():
    call = Signature.of("-group=+").parse(["-group", "a", "-group", "b c"])
    assert call.many == {"-group": ["a", "b c"]}
