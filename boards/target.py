"""What a target is: a board together with the way our design is brought onto it. A plan is a target for one map.

Everything in which targets differ is an attribute or a method of :class:`Target`. The rest of the package asks the
target, and knows no target by its name. Each target is a subclass in a folder of its own; :mod:`boards.targets` lists
them.
"""

from __future__ import annotations

import shlex
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from amaranth.lib import wiring

from boards.gateware.core import Top
from boards.gateware.ports import Ports, port_table
from omap.board import BOARDS
from omap.errors import ParamsError
from omap.params import Params
from omap.regmap import identity
from rtl.config import EngineConfig
from rtl.constants import HOST_IDS
from rtl.synth.generate import JOURNAL


@dataclass(frozen=True)
class Step:
    """One command on the way from a build folder to a card that serves. It is run in the build folder.

    Parameters
    ----------
    title : str
        What it does.
    command : tuple of str
        Program and arguments.
    makes : tuple of str
        Files that are there afterwards, the first of which stands for the step in the Makefile.
    root : bool
        Whether it needs the rights of root. Such a step is told, never run.
    key : bool
        Whether it needs the root key in the folder.
    """

    title: str
    command: tuple[str, ...]
    makes: tuple[str, ...] = ()
    root: bool = False
    key: bool = False

    @property
    def shown(self) -> str:
        """The command as it is typed."""
        return shlex.join(("sudo", *self.command) if self.root else self.command)


@dataclass(frozen=True)
class Variable:
    """An environment variable that the steps need. It names a file.

    Parameters
    ----------
    name : str
        Of the variable.
    what : str
        Which file it names.
    example : str
        Such a file, as seen from the build folder.
    without : str
        How to do without the file.
    """

    name: str
    what: str
    example: str
    without: str


@dataclass(frozen=True)
class Plan:
    """What a build folder is made from, and nothing else: the same plan gives the same bytes.

    Parameters
    ----------
    target : Target
        Which board, in which way.
    params : Params
        The map.
    attested : bool
        Whether the user says that the card is fused to boot this bitstream alone.
    plain : bool
        Whether the bitstream is left unencrypted, where it could be encrypted.
    journal : bool
        Whether the card writes a journal, so that its map can be kept.

    Raises
    ------
    ParamsError
        If the target can't be like that, or has no room for the map's pages.
    """

    target: Target
    params: Params
    attested: bool = False
    plain: bool = False
    journal: bool = JOURNAL

    def __post_init__(self) -> None:
        if not self.target.fusable and (self.attested or self.plain):
            raise ParamsError(
                f"{self.target.name} is neither attested nor encrypted: its host loads the program; leave --attested "
                "and --plain out, or take a direct target"
            )
        if self.attested and self.plain:
            raise ParamsError("an attested card boots encrypted bitstreams alone: leave --attested or --plain out")
        self.target.check(self.params)

    @property
    def encrypted(self) -> bool:
        """Whether the scripts encrypt the bitstream."""
        return self.target.fusable and not self.plain

    @property
    def options(self) -> tuple[str, ...]:
        """The options of ``omap board build`` that say the same, beside the map's."""
        said = {
            "--attested": self.attested,
            "--plain": self.plain,
            "--journal": self.journal and not JOURNAL,
            "--no-journal": JOURNAL and not self.journal,
        }
        return tuple(option for option, given in said.items() if given)

    @property
    def claims(self) -> dict[str, bool]:
        """What register MODE will say that the board guarantees."""
        return {"hbm_private": self.target.hbm_private, "attested": self.attested, "hardware": True}

    @property
    def identity(self) -> dict[str, int]:
        """The registers that will say what the card is."""
        return identity(self.params, **self.claims, journal=self.journal)

    @property
    def engine(self) -> EngineConfig:
        """The engine."""
        return self.target.config(self.params, journal=self.journal)

    def top(self) -> Top:
        """Return the top, to be elaborated once. Raises as :meth:`Target.top`."""
        return self.target.top(self.params, attested=self.attested, journal=self.journal)


class Target(ABC):
    """One target.

    Attributes
    ----------
    name : str
        Its name, which is also the name of its folder.
    board : str
        The card, a key of ``omap.board.BOARDS``.
    module : str
        Name of the top module in Verilog.
    hbm_private : bool
        Whether the host has no way to HBM. Such a target proves it (:meth:`path_problems`).
    fusable : bool
        Whether the bitstream can be encrypted, and the card fused to boot it alone.
    guide : str
        The guide from the bare card to a card that serves, by its path in the source tree.
    device : str
        What the PCIe address of such a card looks like.
    host_ids : int
        AXI ids that the way to host memory takes.
    """

    name: str
    board: str
    module: str
    hbm_private: bool
    fusable: bool
    guide: str
    device: str
    host_ids: int = HOST_IDS[0]

    # The design

    @abstractmethod
    def make(self, config: EngineConfig, *, attested: bool) -> Top:
        """Return the top with an engine, to be elaborated once."""

    def check(self, params: Params) -> None:  # noqa: B027  # most boards have room for every map
        """Check that a map's pages and rings are within reach.

        Raises
        ------
        ParamsError
            If the card reaches less host memory than they may take.
        """

    def config(self, params: Params, *, journal: bool = JOURNAL) -> EngineConfig:
        """Return the engine for a map."""
        board = BOARDS[self.board]
        return EngineConfig(params=params, channel_bits=board.channel_bits, host_ids=self.host_ids, journal=journal)

    def channels(self, params: Params) -> int:
        """Return how many channels of HBM a map takes."""
        return sum(self.config(params).channels.values())

    def top(self, params: Params, *, attested: bool = False, journal: bool = JOURNAL) -> Top:
        """Return the top for a map, to be elaborated once.

        Raises
        ------
        ParamsError
            If no engine can be built for the map, or if ``attested`` is set where the host may load what it wants.
        """
        if attested and not self.fusable:
            raise ParamsError(f"{self.name} can't be attested: its host loads the bitstream. Use a direct target")
        return self.make(self.config(params, journal=journal), attested=attested)

    def ports(self, params: Params) -> Ports:
        """Return direction (``input``, ``output``) and width of each port of the top."""
        component = self.top(params)
        component._MustUse__silence = True  # only looked at
        return port_table(component)

    # The build folder

    @abstractmethod
    def scripts(self, plan: Plan) -> dict[str, str]:
        """Return the scripts and constraints of a build folder by name."""

    @abstractmethod
    def build_steps(self, plan: Plan) -> tuple[Step, ...]:
        """Return what makes the card's program, at least one step. The last one makes the program."""

    @abstractmethod
    def flash_steps(self, plan: Plan, device: str | None, *, volatile: bool = False) -> tuple[Step, ...]:
        """Return what brings the program into a card.

        Parameters
        ----------
        plan : Plan
            Of the folder.
        device : str or None
            The card's PCIe address.
        volatile : bool
            Load the program until the card loses its power, where it could be written into a flash.

        Raises
        ------
        InputError
            If ``volatile`` is asked of a target that knows nothing else.
        """

    @abstractmethod
    def serve_step(self, plan: Plan, device: str | None) -> Step:
        """Return what serves the map that the card at a PCIe address runs."""

    def flash_notes(self, plan: Plan) -> tuple[str, ...]:
        """Return what to know before a card's flash is written; nothing if none is."""
        return ()

    def goals(self, plan: Plan) -> dict[str, tuple[Step, ...]]:
        """Return the goals of the Makefile that bring the program into a card, each with its steps."""
        return {"flash": self.flash_steps(plan, None)}

    def variants(self, plan: Plan) -> dict[str, Step]:
        """Return further goals of the Makefile: each makes one more file from what the first step has made.

        The last word of such a step's command is a script of the folder.
        """
        return {}

    def environment(self, plan: Plan) -> tuple[Variable, ...]:
        """Return the environment variables that the steps need."""
        return ()

    # Its checks

    @abstractmethod
    def script_problems(self, folder: Path, plan: Plan) -> list[str]:
        """Return what is wrong with the scripts and constraints that stand in a build folder."""

    def path_problems(self, verilog: str, plan: Plan) -> list[str]:
        """Return the paths in the top's Verilog on which host and HBM meet elsewhere than in the map.

        It is asked of targets that say that HBM is private, and of no others.

        Raises
        ------
        ParamsError
            If the target has no such proof.
        """
        raise ParamsError(f"{self.name} says that HBM is private, and has no check that proves it")

    # Words

    @property
    @abstractmethod
    def summary(self) -> str:
        """What ``omap board list`` says of HBM and host memory."""

    @abstractmethod
    def warning(self, plan: Plan) -> list[str]:
        """Return the lines of the folder's README that say what the folder does not protect by itself."""

    def otherwise(self, plan: Plan) -> list[str]:
        """Return the lines of the folder's README that say what else can be done with what was built."""
        return []

    # What it costs

    def blocks(self, params: Params) -> dict[str, Callable[[], wiring.Component]]:
        """Return the blocks of ours that the top has beside the core, by name: each a call that makes the block."""
        return {}

    def boxes(self, params: Params) -> dict[str, str]:
        """Return the vendor's modules in the top as empty Verilog; no text for a module that the synthesiser knows."""
        return {}
