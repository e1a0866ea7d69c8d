"""The facts of the cards go together, and nothing else has a second copy of them."""

import re
from dataclasses import fields

import pytest

from host.device import preflight
from omap.board import BOARDS, Board, Flash, Pins
from omap.units import format_bytes
from rtl.memory import hbm
from rtl.synth import netlist

CARDS = pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)


@CARDS
def test_names_and_sizes_go_together(board):
    assert BOARDS[board.name] is board
    assert board.part.startswith(f"xc{board.name}-")
    assert board.board_part.startswith(f"xilinx.com:a{board.name}:part0:")
    assert board.platform.startswith(f"xilinx_{board.name}_gen{board.pcie_generation}x{board.pcie_lanes}_")
    assert board.hbm_bytes == board.pseudo_channels << board.channel_bits
    assert board.pci_user == board.pci_management + 1


def test_hbm_as_the_cards_are_sold():
    sizes = {name: format_bytes(board.hbm_bytes) for name, board in BOARDS.items()}
    assert sizes == {"u55c": "16.00 GiB", "u280": "8.00 GiB", "u50": "8.00 GiB"}


@CARDS
def test_pins_are_pins_and_differ(board):
    found = board.pins
    names = [*found.pcie_refclk, found.perst, *found.hbm_refclk, found.cattrip]
    assert all(re.fullmatch(r"[A-Z]{1,2}[0-9]{1,2}", name) for name in names)
    assert len(set(names)) == len(names)


@CARDS
def test_the_users_image_is_in_the_flash_and_the_factorys_is_below_it(board):
    assert board.flash.mebibytes.bit_count() == 1  # as write_cfgmem wants it
    assert 0 < board.flash.start < board.flash.mebibytes << 20
    assert board.flash.interface == f"SPIx{board.flash.lanes}"
    assert board.flash.part.endswith(f"_x{board.flash.lanes}")


@CARDS
def test_a_window_holds_what_is_no_larger(board):
    window = board.host_window_bytes
    found = [board.window_holds(size) for size in ((window or 0), (window or 0) + 1)]
    assert found == ([None, None] if window is None else [True, False])


@pytest.mark.parametrize("kind", [Board, Flash, Pins])
def test_every_field_is_explained(kind):
    for field in fields(kind):
        assert re.search(rf"^    (\w+, )*{field.name}(, \w+)* : ", kind.__doc__, re.MULTILINE), field.name


def test_others_take_their_facts_from_here():
    u55c = BOARDS["u55c"]
    assert (u55c.channel_bits, u55c.pseudo_channels) == (hbm.CHANNEL_BITS, hbm.PSEUDO_CHANNELS)
    assert netlist.U55C.lut == u55c.lut
    assert u55c.host_window_bytes == preflight._WINDOW_BYTES
    for board in BOARDS.values():
        assert board.pseudo_channels << board.channel_bits <= 1 << hbm.ADDRESS_BITS
