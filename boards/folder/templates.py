"""Files of build folders that are written once, with gaps for what depends on the map and the board."""

from __future__ import annotations

import string
from importlib.resources import files


class _Template(string.Template):
    delimiter = "@"  # `$` is Tcl's


def fill(package: str, name: str, **values: object) -> str:
    """Return a template of a package with its gaps filled.

    Parameters
    ----------
    package, name : str
        Where it is; a gap is ``@name``.
    **values : object
        A value for each gap.

    Raises
    ------
    KeyError
        If a gap has no value.
    """
    template = _Template(files(package).joinpath(name).read_text("utf-8"))
    unused = values.keys() - template.get_identifiers()
    assert not unused, f"{name} has no gap for {', '.join(sorted(unused))}"
    return template.substitute({key: str(value) for key, value in values.items()})
