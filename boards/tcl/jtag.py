"""A recorder for AMD's hardware manager (:class:`~boards.tcl.interpreter.Tool`), with some cards on its cable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from boards.tcl.interpreter import Tool
from boards.tcl.signatures import Answer, Call, RefusedError, command

BRIDGE = "flash.bit"
"""Stands for the tools' own design, through which they reach a card's flash."""

FLASH: Mapping[str, str] = {
    "program.files": r".+\.mcs\}?",
    "program.address_range": "use_file",
    "program.unused_pin_termination": "pull-none",
    "program.blank_check": "0",
    "program.erase": "1",
    "program.cfg_program": "1",
    "program.verify": "1",
    "program.checksum": "0",
}
"""What a script must set before a flash is written: the image and its range, that the flash is erased before, and that
it is read back afterwards. Another range would erase all of it, and the factory's image with it, unless protected."""


class HardwareManager(Tool):
    """Loads a bitstream into a card, or writes its flash.

    Parameters
    ----------
    folder : Path
        Where the scripts and their files are.
    cards : int
        How many there are.
    flashes : iterable of str
        Parts of flash that the tools know.
    present, absent
        As of :class:`boards.tcl.interpreter.Tool`.

    Attributes
    ----------
    loaded : list of str
        Bitstreams that were loaded.
    written : list of (str, str)
        Parts of flash, and images that were written into them.
    booted : bool
        Whether a card was told to boot from its flash.
    """

    PROPERTIES: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "card": {"program.file": r".+\.bit"},
        "flash": FLASH,
    }

    def __init__(
        self,
        folder: Path,
        *,
        cards: int = 1,
        flashes: Iterable[str] = (),
        present: Iterable[str] = (),
        absent: Iterable[str] = (),
    ) -> None:
        super().__init__(folder, present=present, absent=absent)
        self.cards, self.flashes = cards, frozenset(flashes)
        self.loaded: list[str] = []
        self.written: list[tuple[str, str]] = []
        self.booted = False

    @command("open_hw_manager")
    def open_hw_manager(self, call: Call) -> None:
        """Begin."""

    @command("connect_hw_server")
    def connect_hw_server(self, call: Call) -> None:
        """Reach the cable."""
        self.after("open_hw_manager")

    @command("open_hw_target")
    def open_hw_target(self, call: Call) -> None:
        """Look at what is on it."""
        self.after("connect_hw_server")
        for number in range(self.cards):
            self.add("card", str(number))

    @command("get_hw_devices")
    def get_hw_devices(self, call: Call) -> Answer:
        """Return the cards."""
        self.after("open_hw_target")
        return tuple(card.handle for card in self.all("card"))

    @command("current_hw_device", "card")
    def current_hw_device(self, call: Call) -> None:
        """Choose a card."""
        self.find(call.words[0], "card")

    @command("program_hw_devices", "card")
    def program_hw_devices(self, call: Call) -> None:
        """Load the bitstream, or the design that was made ready for reaching the flash."""
        self.after("current_hw_device")
        card = self.find(call.words[0], "card")
        if "bridge" in card.properties:
            card.properties["runs"] = BRIDGE
        elif "program.file" in card.properties:
            self.loaded.append(self.need_file(card.properties["program.file"]))
        else:
            raise RefusedError("there is nothing to load: PROGRAM.FILE is not set")

    # The flash

    @command("get_cfgmem_parts", "part")
    def get_cfgmem_parts(self, call: Call) -> Answer:
        """Return the parts of this name."""
        return tuple(part for part in (call.words[0],) if part in self.flashes)

    @command("create_hw_cfgmem", "-hw_device=! part")
    def create_hw_cfgmem(self, call: Call) -> None:
        """Say what flash a card has."""
        self.after("current_hw_device")
        card = self.find(call.options["-hw_device"], "card")
        if call.words[0] not in self.flashes:
            raise RefusedError(f"there is no flash {call.words[0]}")
        card.properties["program.hw_cfgmem"] = self.add("flash", call.words[0], card).handle
        card.properties["program.hw_cfgmem_bitfile"] = BRIDGE

    @command("get_property", "name card")
    def get_property(self, call: Call) -> Answer:
        """Return a property of a card."""
        card = self.find(call.words[1], "card")
        if call.words[0].lower() not in card.properties:
            raise RefusedError(f"the card has no property {call.words[0]}")
        return card.properties[call.words[0].lower()]

    @command("create_hw_bitstream", "-hw_device=! file")
    def create_hw_bitstream(self, call: Call) -> None:
        """Make the tools' own design ready for a card."""
        card = self.find(call.options["-hw_device"], "card")
        if call.words[0] != BRIDGE:
            raise RefusedError(f"{call.words[0]} does not lead to the flash")
        card.properties["bridge"] = "ready"

    @command("refresh_hw_device", "card")
    def refresh_hw_device(self, call: Call) -> None:
        """Look at what a card runs now."""
        card = self.find(call.words[0], "card")
        card.properties["seen"] = card.properties.get("runs", "")

    @command("program_hw_cfgmem", "flash")
    def program_hw_cfgmem(self, call: Call) -> None:
        """Erase, write, and read back."""
        flash = self.find(call.words[0], "flash")
        for name in FLASH:
            if name not in flash.properties:
                raise RefusedError(f"{name.upper()} is not set")
        if flash.of is None or flash.of.properties.get("seen") != BRIDGE:
            raise RefusedError("the card does not run the design through which its flash is reached")
        for image in self.split(flash.properties["program.files"]):
            self.written.append((flash.name, self.need_file(image)))

    @command("boot_hw_device", "-disable_done_check card")
    def boot_hw_device(self, call: Call) -> None:
        """Have a card boot; it is not waited for if the bitstream closes JTAG."""
        self.after("program_hw_cfgmem")
        self.find(call.words[0], "card")
        if "-disable_done_check" not in call.options:
            raise RefusedError("the card can't say that it has booted: its bitstream closes JTAG")
        self.booted = True

    @command("close_hw_manager")
    def close_hw_manager(self, call: Call) -> None:
        """End."""
        self.after("program_hw_devices")
