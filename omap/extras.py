"""How to install what an extra of this distribution brings.

No package index has this distribution, and the classifier in ``pyproject.toml`` keeps it so. Its name on an index would
be whatever somebody else has put there. So each message names the project's folder, and none names the distribution.
"""

from __future__ import annotations


def how_to_install(*extras: str) -> str:
    """Return the end of a sentence that says how to install some extras.

    Parameters
    ----------
    extras : str
        Names of extras in ``pyproject.toml``.
    """
    return f"run `pip install -e '.[{','.join(extras)}]'` in the project's folder"
