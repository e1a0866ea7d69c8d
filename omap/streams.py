"""Standard output and standard error of a command: what can't be written is told once, and shows in the exit code.

A full disk or a reader that has gone is no answer of a map. So it never ends with a traceback, and never with an exit
code that means something else.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
from collections.abc import Iterator
from typing import Any

from omap.errors import OutputError


class StandardOutputError(OutputError):
    """Standard output can't be written.

    Parameters
    ----------
    error : OSError
        Why.
    """

    def __init__(self, error: OSError) -> None:
        super().__init__(f"standard output can't be written: {error.strerror or error}")
        self.gone = error.errno == errno.EPIPE
        """Whether its reader has gone, as `head` does. Nobody need be told."""


class _Output(io.FileIO):
    """Standard output, which fails once: after that, buffers get rid of what they hold without a word."""

    failed: StandardOutputError | None = None

    def write(self, data: Any, /) -> int:
        if self.failed is None:
            try:
                return super().write(data)
            except OSError as error:
                self.failed = StandardOutputError(error)
                raise self.failed from None
        return memoryview(data).nbytes


class _Closed(io.RawIOBase):
    """Standard output of a process that was started without one."""

    failed: StandardOutputError | None = None

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        if self.failed is None:
            self.failed = StandardOutputError(OSError(errno.EBADF, "it is closed"))
            raise self.failed
        return memoryview(data).nbytes


class _Errors(io.FileIO):
    """Standard error: if it can't be written, work goes on, because there is nowhere to tell."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Guard standard output and standard error during the block, and write out at its end what waits in buffers.

    Raises
    ------
    StandardOutputError
        If standard output can't be written. It is raised by the call that writes, and again at the end of the block.
    """
    output, errors = sys.stdout, sys.stderr
    raw = _raw_output(output)
    number = _descriptor(errors)
    if raw is not None:
        sys.stdout = _text(raw, output)
    if number is not None:
        sys.stderr = _text(_Errors(number, "w", closefd=False), errors)
    try:
        yield
        if raw is not None:
            sys.stdout.flush()
            if raw.failed is not None:  # a library has hidden it
                raise raw.failed
    finally:
        with contextlib.suppress(StandardOutputError):
            sys.stdout.flush()
        if number is not None:
            sys.stderr.flush()
        sys.stdout, sys.stderr = output, errors


def _raw_output(output: Any) -> _Output | _Closed | None:
    """Return what writes to standard output; None if a test or a program has put something else in its place."""
    if output is None:
        return _Closed()
    number = _descriptor(output)
    return None if number is None else _Output(number, "w", closefd=False)


def _descriptor(stream: Any) -> int | None:
    try:
        return int(stream.fileno())
    except (AttributeError, OSError, ValueError):
        return None


def _text(raw: io.RawIOBase, like: Any) -> io.TextIOWrapper:
    """Return a text stream that differs from ``like`` in one thing: a sign that its encoding lacks is no error."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(like, "encoding", None) or "utf-8",
        errors="backslashreplace" if getattr(like, "errors", "strict") == "strict" else like.errors,
        line_buffering=getattr(like, "line_buffering", False),
    )


EXIT_CODE = os.EX_IOERR
"""Exit code if something could not be written; no command means anything else by it."""
