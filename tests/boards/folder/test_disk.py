"""Writing a build folder: what is there stays if the new one can't be written, and the error says which kind it is."""

from pathlib import Path

import pytest

from boards.folder import disk, manifest
from omap.errors import InputError, OutputError
from tests.support.disks import full_disk


def test_a_full_disk_is_an_output_that_can_not_be_written(tmp_path):
    with full_disk(50), pytest.raises(OutputError, match="build can't be written: File too large"):
        disk.write(tmp_path / "build", {manifest.NAME: b"{}", "top.v": bytes(100)}, None)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_takes_no_folder_is_refused():
    with pytest.raises(InputError, match="/proc/build can't be written: "):
        disk.write(Path("/proc/build"), {manifest.NAME: b"{}"}, None)
