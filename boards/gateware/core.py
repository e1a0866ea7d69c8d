# amaranth: UnusedElaboratable=no
"""What every board has: the engine with its entropy and its root key, inside a top."""

from __future__ import annotations

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import connect, flipped

from boards.gateware.entropy import INTERVAL, Entropy
from boards.gateware.root_key import RootKey
from omap.errors import ParamsError
from rtl.config import EngineConfig
from rtl.engine import Engine

__all__ = ["BoardCore", "Top", "check_config"]

BUSES = ("s_axi_control", "m_axi_host", "m_axi_hbm")


def check_config(config: EngineConfig) -> None:
    """Raise ParamsError for an engine that no board may hold."""
    if config.insecure_unpaced:
        raise ParamsError(
            "insecure_unpaced is set: times would tell which keys are asked for; such an engine is for simulation, and "
            "no board is built with it"
        )


class BoardCore(wiring.Component):
    """The engine with its entropy and its root key. Only buses lead outside.

    Parameters
    ----------
    config : EngineConfig
        The engine.
    hbm_private, attested : bool
        What the board guarantees, for register MODE, which also says that this is hardware.
    entropy_interval : int
        Cycles between samples of noise, see :class:`boards.gateware.entropy.Entropy`; fewer in simulations alone.

    Members
    -------
    s_axi_control, m_axi_host, m_axi_hbm
        As those of :class:`rtl.engine.Engine`.

    Raises
    ------
    ParamsError
        If the engine is one for simulation alone.

    Countermeasures
    ---------------
    BOARD.ENTROPY.CHECKED
        The engine serves nothing, and erases its keys, once the noise has failed its tests.
    """

    def __init__(
        self, config: EngineConfig, *, hbm_private: bool, attested: bool, entropy_interval: int = INTERVAL
    ) -> None:
        check_config(config)
        self.config, self.entropy_interval = config, entropy_interval
        self.engine = Engine(config, hbm_private=hbm_private, attested=attested, hardware=True)
        super().__init__({name: self.engine.signature.members[name] for name in BUSES})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.engine = engine = self.engine
        m.submodules.entropy = entropy = Entropy(interval=self.entropy_interval)
        m.submodules.root_key = root_key = RootKey()
        connect(m, root_key.o, engine.i_root_key)
        connect(m, entropy.o, engine.i_noise)
        # SEC_CM: BOARD.ENTROPY.CHECKED -- noise that fails its tests ends the service
        m.d.comb += engine.broken.eq(entropy.failed)
        connect(m, flipped(self.s_axi_control), engine.s_axi_control)
        connect(m, engine.m_axi_host, flipped(self.m_axi_host))
        for inner, outer in zip(engine.m_axi_hbm, self.m_axi_hbm, strict=True):
            connect(m, inner, flipped(outer))
        return m


class Top(wiring.Component):
    """The outermost design of a target, with flat ports.

    Attributes
    ----------
    core : BoardCore
        The engine and what belongs to it, somewhere inside.
    """
