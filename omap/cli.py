"""The ``omap`` command, which finds its subcommands through entry points.

A distribution adds a subcommand by registering a :class:`click.Command` in the group ``omap.commands``. The module of a
subcommand is loaded only when the subcommand is run or listed, so that ``omap plan`` does not import the simulator. A
subcommand whose extra is not installed is listed too, and says what to install.
"""

from __future__ import annotations

import re
import signal
import sys
from importlib import metadata
from typing import Any, NoReturn

import click

from omap.errors import OmapError, OutputError
from omap.extras import how_to_install
from omap.streams import EXIT_CODE, StandardOutputError, guarded

DISTRIBUTION = "omap-fpga"
"""Name under which the five packages are installed."""

COMMANDS = "omap.commands"
"""Entry-point group of the subcommands."""

INTERRUPTED = 128 + signal.SIGINT
"""Exit code after Ctrl-C, as shells have it. It is none of those that say what a command found."""


class UserError(click.ClickException):
    """An error that shows as one line on standard error, with exit code 2, instead of a traceback."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print the message to ``file``, or to standard error."""
        click.echo(f"omap: {self.message}", file=file, err=file is None)


def extra_of(module: str) -> str | None:
    """Return the extra of this distribution that provides ``module``, or None if no extra names it."""
    wanted = module.partition(".")[0].replace("_", "-").lower()
    for requirement in metadata.requires(DISTRIBUTION) or []:
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", requirement)
        if name and extra and name[0].replace("_", "-").lower() == wanted:
            return extra[1]
    return None


def _not_installed(error: ImportError) -> str | None:
    """Say what to install if ``error`` is about a module of one of the extras; return None otherwise."""
    extra = extra_of(error.name) if error.name else None
    if extra is None:
        return None
    return f"this needs {error.name}, which is not installed: {how_to_install(extra)}"


def _unavailable(name: str, reason: str) -> click.Command:
    """Return a command that only says why it can't run, for a subcommand that can't be loaded."""

    @click.command(
        name,
        short_help=f"(not available: {reason})",
        context_settings={"ignore_unknown_options": True, "help_option_names": []},
    )
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        raise UserError(reason)

    return command


def _not_written(error: OutputError) -> NoReturn:
    """End with the exit code of an output that can't be written, and say why, unless its reader has gone."""
    if not (isinstance(error, StandardOutputError) and error.gone):
        UserError(str(error)).show()
    sys.exit(EXIT_CODE)


class CommandGroup(click.Group):
    """A group whose subcommands are the entry points of :data:`COMMANDS`, loaded on demand."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands, without loading any."""
        return sorted({*super().list_commands(ctx), *metadata.entry_points(group=COMMANDS).names})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand; if it can't be loaded, one that says why; if it is unknown, None."""
        for entry_point in metadata.entry_points(group=COMMANDS, name=cmd_name):
            try:
                command = entry_point.load()
            except ImportError as error:  # the list of `omap --help` must work all the same
                return _unavailable(cmd_name, _not_installed(error) or f"{entry_point.module} can't be loaded: {error}")
            if not isinstance(command, click.Command):
                raise UserError(f"entry point {entry_point.value} is not a click command: mend its registration")
            return command
        return super().get_command(ctx, cmd_name)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run a command line; a file or a standard output that can't be written becomes one line and exit code 74."""
        if not extra.get("standalone_mode", True):
            return super().main(*args, **extra)
        try:
            with guarded():
                code = self._exit_code(*args, **extra)
        except OutputError as error:
            _not_written(error)
        sys.exit(code)

    def _exit_code(self, *args: Any, **extra: Any) -> Any:
        try:
            super().main(*args, **extra)
        except SystemExit as end:
            return end.code
        raise AssertionError("click ends a command with SystemExit")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the subcommand; an error that the project raises on purpose becomes one line."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("\nomap: interrupted", err=True)  # behind the ^C of a terminal
            sys.exit(INTERRUPTED)
        except OutputError:
            raise
        except OmapError as error:
            raise UserError(str(error)) from error
        except ModuleNotFoundError as error:
            reason = _not_installed(error)
            if reason is None:
                raise
            raise UserError(reason) from error
        except MemoryError as error:
            raise UserError(f"this machine has too little memory: {error}; ask for less") from error


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def main() -> None:
    """An oblivious map: a key-value table whose memory accesses tell nothing about its operations."""


if __name__ == "__main__":
    main()
