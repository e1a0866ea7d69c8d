"""The targets by name: how to make a target's top for a map, and what ports it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring

from boards.gateware.flat import port_table
from boards.u55c_direct import top as direct
from boards.u55c_vitis import top as vitis
from omap.board import BOARDS
from omap.errors import ParamsError
from omap.params import Params
from omap.units import format_bytes
from omap.wire import BufferLayout
from rtl.config import EngineConfig


@dataclass(frozen=True)
class Target:
    """One target.

    Parameters
    ----------
    name : str
        Its name, and that of its folder.
    board : str
        The card, a key of ``omap.board.BOARDS``.
    module : str
        Name of the top module in Verilog.
    hbm_private : bool
        Whether the host has no way to HBM.
    make : callable
        Makes the top: (config, attested).
    """

    name: str
    board: str
    module: str
    hbm_private: bool
    make: Callable[[EngineConfig, bool], wiring.Component]

    def check(self, params: Params) -> None:
        """Check that a map's pages and rings are within reach.

        Raises
        ------
        ParamsError
            If a kernel under the card's shell reaches less host memory than they may take.
        """
        board, needed = BOARDS[self.board], BufferLayout.largest(params).size
        if self.hbm_private:  # there is no shell
            return
        if board.window_holds(needed) is False:
            assert board.host_window_bytes is not None
            others = ", ".join(target.name for target in TARGETS.values() if target.hbm_private)
            raise ParamsError(
                f"pages and rings of this map take up to {format_bytes(needed)} of host memory, and {self.name} "
                f"reaches {format_bytes(board.host_window_bytes)} of it through HOST[0]: take a target without a shell "
                f"({others}), or a smaller map (`omap plan --board {self.board} --host`)"
            )

    def config(self, params: Params) -> EngineConfig:
        """Return the engine for a map."""
        return EngineConfig(params=params, channel_bits=BOARDS[self.board].channel_bits)

    def top(self, params: Params, *, attested: bool = False) -> wiring.Component:
        """Return the top for a map, to be elaborated once.

        Raises
        ------
        ParamsError
            If no engine can be built for the map, or if ``attested`` is set where the host may load what it wants.
        """
        if attested and not self.hbm_private:
            raise ParamsError(f"{self.name} can't be attested: its host loads the bitstream. Use a direct target")
        return self.make(self.config(params), attested)

    def ports(self, params: Params) -> dict[str, tuple[str, int]]:
        """Return direction (``input``, ``output``) and width of each port of the top."""
        component = self.top(params)
        component._MustUse__silence = True  # only looked at
        return port_table(component)


TARGETS = {
    target.name: target
    for target in (
        Target("u55c_vitis", "u55c", vitis.MODULE, False, lambda config, attested: vitis.VitisKernel(config)),
        Target(
            "u55c_direct",
            "u55c",
            direct.MODULE,
            True,
            lambda config, attested: direct.DirectTop(config, attested=attested),
        ),
    )
}
"""Name to target."""
