# amaranth: UnusedElaboratable=no
"""Generated Verilog: complete, described by its manifest, clean under lint."""

import hashlib
import json
import os
from fractions import Fraction

import pytest
from click.testing import CliRunner

from omap import sizing
from omap.errors import ParamsError
from omap.presets import NAMES, preset
from omap.wire import LINE_BYTES, RecordCodec
from rtl.commands import command
from rtl.config import EngineConfig
from rtl.engine import Engine
from rtl.map.pages import Pages
from rtl.rings.csr import Csr
from rtl.rings.ring_port import RingPort
from rtl.synth.blocks import blocks
from rtl.synth.generate import JOURNAL, MANIFEST, PREFIX, generate
from rtl.synth.verilog import to_verilog
from tests.support.rtl.synthesis import lint


def check(params, folder, names):
    manifest = generate(params, folder)
    assert json.loads((folder / MANIFEST).read_text()) == manifest
    assert manifest["digest"] == params.digest.hex()
    assert set(manifest["files"]) == {f"{PREFIX}{name}.v" for name in names}
    for file, entry in manifest["files"].items():
        text = (folder / file).read_text()
        assert hashlib.sha256(text.encode()).hexdigest() == entry["sha256"]
        assert f"module {entry['top']}(" in text
        assert lint(folder / file, entry["top"]) == []


def test_every_block_of_a_small_map(tmp_path, monkeypatch):
    params = preset("TINY")
    found = blocks(params)
    del found["engine"]  # takes as long as all others: see below
    monkeypatch.setattr("rtl.synth.generate.blocks", lambda params, journal: found)
    check(params, tmp_path, found)


@pytest.mark.parametrize("name", ["csr", "pages", "ring_port"])
def test_parts_of_the_engine(tmp_path, name):
    config = EngineConfig(params=preset("TINY"))
    mode = {"hbm_private": False, "attested": False, "hardware": False}
    part = {
        "csr": lambda: Csr(config.params, **mode),
        "pages": lambda: Pages(config),
        "ring_port": lambda: RingPort(config.params, max_lines=config.host_lines),
    }[name]()
    (tmp_path / "part.v").write_text(to_verilog(part, "part"))
    assert lint(tmp_path / "part.v", "part") == []


@pytest.mark.long
@pytest.mark.parametrize("name", NAMES)
def test_every_block_of_the_presets(tmp_path, name):
    params = preset(name)
    check(params, tmp_path, blocks(params))


def test_lint_sees_a_warning(tmp_path):
    (tmp_path / "bad.v").write_text("module bad(input [3:0] a, output b); assign b = a; endmodule\n")
    assert any("WIDTH" in line for line in lint(tmp_path / "bad.v", "bad"))


def test_the_engine_is_generated_for_the_map_and_described_in_the_manifest(tmp_path, monkeypatch):
    params = preset("TINY")
    engine = blocks(params)["engine"]
    assert engine.component is Engine
    assert engine.arguments == {"config": EngineConfig(params=params)}
    monkeypatch.setattr(
        "rtl.synth.generate.blocks", lambda params, journal: {"engine": blocks(params, journal=journal)["engine"]}
    )

    def stub(component, name):
        component._MustUse__silence = True
        return f"module {name}(); endmodule\n"

    monkeypatch.setattr("rtl.synth.generate.to_verilog", stub)
    for options, journal in (({}, JOURNAL), ({"journal": False}, False), ({"journal": True}, True)):
        (entry,) = generate(params, tmp_path, **options)["files"].values()
        assert entry["component"] == "rtl.engine.Engine"
        told = json.loads((tmp_path / MANIFEST).read_text())
        assert told["journal"] is journal
        config = told["files"]["omap_engine.v"]["arguments"]["config"]
        config["interval"] = Fraction(config["interval"])  # a text if it is no whole number
        assert EngineConfig(params=params, **config) == EngineConfig(params=params, journal=journal)


def test_the_same_design_gives_the_same_text():
    block = blocks(preset("TINY"))["key_hash"]
    assert to_verilog(block.make(), "top") == to_verilog(block.make(), "top")


def test_the_blocks_have_the_sizes_of_the_map():
    params = preset("PAPER")
    found = {name: block.arguments for name, block in blocks(params).items()}
    assert found["page_open"]["sealed_bytes"] == found["page_seal"]["sealed_bytes"] == params.page_bytes
    assert found["record_open"]["sealed_bytes"] == LINE_BYTES * RecordCodec(params).most_lines
    assert found["key_hash"]["message_bytes"] == params.key_bytes
    assert found["draws"]["pages"] == params.pages
    # Label, zero byte, two nonces, digest, map id, session number, length: see omap.session.
    assert found["session_kdf"]["fixed_bytes"] == len(b"omap session 2") + 1 + 16 + 16 + 32 + 16 + 4 + 4


def test_other_rules_are_refused():
    params = sizing.two_choice(capacity=100, key_bytes=8, value_bytes=8)
    with pytest.raises(ParamsError, match="the accelerator implements 'one_choice' alone"):
        blocks(params)


def test_the_command_writes_what_it_says(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "rtl.synth.generate.blocks",
        lambda params, journal: seen.append(journal) or {"key_hash": blocks(params)["key_hash"]},
    )
    for options in (["--no-journal"], []):
        arguments = ["generate", "--preset", "tiny", "--out", str(tmp_path / "out"), *options]
        result = CliRunner().invoke(command, arguments)
        assert result.exit_code == 0, result.output
    assert seen == [False, JOURNAL]
    files = result.stdout.split()
    assert [os.path.basename(file) for file in files] == ["omap_key_hash.v", "manifest.json"]
    assert all(os.path.exists(file) for file in files)
    times = EngineConfig(params=preset("TINY")).times
    assert json.loads((tmp_path / "out" / MANIFEST).read_text())["times"] == times
    assert f"turnaround_cycles {times['turnaround_cycles']}, follow_cycles" in result.stderr
