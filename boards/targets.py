"""The targets by name: how to make a target's top for a map, and what ports it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.lib import wiring

from boards.flat import port_table
from boards.u55c_direct import top as direct
from boards.u55c_vitis import top as vitis
from omap.errors import ParamsError
from omap.params import Params
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

    def config(self, params: Params) -> EngineConfig:
        """Return the engine for a map."""
        return EngineConfig(params=params)

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
