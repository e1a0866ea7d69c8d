"""``omap`` on a machine with a stand-in for a card, in a process of its own.

``python -m tests.support.host.carded BACKEND PRESET KEY_FILE FOLDER JOURNAL ARGUMENT...`` runs the arguments. FOLDER is
where the machine has its files, JOURNAL whether the card writes a journal: 0 or 1. The card is gone with the process.
"""

import os
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

from host.device import vfio
from host.keyfile import read_root_file
from omap.cli import main
from omap.presets import preset
from tests.support.host.cards import ModelCard
from tests.support.host.fake_pyxrt import FakeXrt
from tests.support.host.fake_vfio import FakeVfio


def run(backend, preset_name, key_file, folder, journal, *arguments):
    params, key, place = preset(preset_name), read_root_file(key_file), Path(tempfile.mkdtemp(dir=folder))
    card = ModelCard(params, key, journal=journal == "1")
    if backend == "xrt":
        with FakeXrt(params, key, card=card) as machine:
            main([*arguments, "--backend", "xrt", "--xclbin", os.fspath(machine.xclbin(place))])
    else:
        with FakeVfio(place, params, key, card=card) as machine, patch.object(vfio, "System", lambda: machine):
            main([*arguments, "--backend", "vfio"])


if __name__ == "__main__":
    run(*sys.argv[1:])
