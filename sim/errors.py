"""Errors of the simulation layer."""

from omap.errors import OmapError


class SimulationError(OmapError):
    """A simulation could not go on, or was asked for something the design does not have."""


class ToolError(SimulationError):
    """A tool is missing or refused its input; the message names the prerequisite or shows what the tool said."""


class ProtocolError(SimulationError):
    """The design broke a rule of a bus or a stream; the message names port, cycle and rule."""


class CycleLimitError(SimulationError):
    """What a run was waiting for did not happen within the cycles it was given."""
