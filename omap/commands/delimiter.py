"""The option that says what stands between the fields of a CSV file."""

from __future__ import annotations

from typing import Any

import click


class _Delimiter(click.ParamType):  # type: ignore[type-arg]  # older versions of click do not say what a type gives
    """One sign between the fields of a CSV file; ``tab`` stands for a tabulator."""

    name = "sign"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the sign that was typed."""
        sign = {"tab": "\t", "\\t": "\t"}.get(value, value)
        if len(sign) != 1 or sign in '"\r\n\0\ufeff':
            self.fail(f"{value!r} is not one sign that can stand between fields; write ; or | or tab", param, ctx)
        return str(sign)


DELIMITER = click.option(
    "--delimiter", type=_Delimiter(), default=",", show_default=True, help="The sign between fields: ; or tab, ..."
)
"""The option of a command that reads a CSV file."""
