"""Parameter files: what `omap plan --json` prints, or its part ``params`` alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

from omap.errors import InputError, ParamsError
from omap.params import Params


def read_params_file(path: str | os.PathLike[str]) -> Params:
    """Return the parameters in a JSON file.

    Raises
    ------
    InputError
        If the file can't be read or is no JSON.
    ParamsError
        If the file holds no parameters.
    """
    try:
        values = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise InputError(f"the parameter file {path} can't be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the parameter file {path} is no JSON: {error}") from None
    if isinstance(values, dict) and "params" in values:
        values = values["params"]
    if not isinstance(values, dict):
        raise ParamsError(f"the parameter file {path} holds no object of parameters: `omap plan --json` writes one")
    try:
        return Params.from_dict(values)
    except ParamsError as error:
        raise ParamsError(f"the parameter file {path} can't be used: {error}") from None
