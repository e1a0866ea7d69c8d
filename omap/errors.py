"""Every error of the project, in one hierarchy.

No message carries a key, a value or anything derived from them: errors travel to logs, and logs to strangers.
"""


class OmapError(Exception):
    """Base class of all errors raised on purpose by the project."""


class ParamsError(OmapError, ValueError):
    """Parameters that cannot be honoured, alone or together."""


class PlanError(ParamsError):
    """No configuration satisfies what the planner was asked for; the message names the bound that broke."""


class InputError(OmapError, ValueError):
    """A key, a value, an operation or a table that does not fit the map. The map is unchanged."""


class FullError(OmapError):
    """A PUT of a new key was refused because ``capacity`` keys are live. The map is unchanged."""


class FaultError(OmapError):
    """The map has latched a fault and erased its keys: it refuses all further work until it is formatted."""


class TamperedError(FaultError):
    """Host memory did not return what was written to it: a page failed authentication."""


class ExhaustedError(FaultError):
    """A structure in HBM ran out, which its sizing makes less likely than the stated bound."""
