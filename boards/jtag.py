"""AMD's hardware manager as far as our script uses it: a :class:`boards.tcl.Tool` with some cards on its cable."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

from boards.signatures import Answer, Call, command
from boards.tcl import Tool


class HardwareManager(Tool):
    """Loads a bitstream into a card.

    Parameters
    ----------
    folder, present, absent
        As of :class:`boards.tcl.Tool`.
    cards : int
        How many there are.
    """

    PROPERTIES: ClassVar[Mapping[str, Mapping[str, str]]] = {"card": {"program.file": r".+\.bit"}}

    def __init__(
        self, folder: Path, *, cards: int = 1, present: Iterable[str] = (), absent: Iterable[str] = ()
    ) -> None:
        super().__init__(folder, present=present, absent=absent)
        self.cards = cards
        self.loaded: list[str] = []

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
        """Load the bitstream."""
        self.after("current_hw_device", "set_property")
        self.loaded.append(self.need_file(self.find(call.words[0], "card").properties["program.file"]))

    @command("close_hw_manager")
    def close_hw_manager(self, call: Call) -> None:
        """End."""
        self.after("program_hw_devices")
