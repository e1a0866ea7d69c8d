"""What servers need of the system."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
from host.listening import allow_connections
from omap.errors import InputError
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
try:
    allow_connections({clients})
except InputError as error:
    print(error)
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "clients", "told"),
    [
        (256, 4096, 1200, "1264"),
        (2000, 4096, 1200, "2000"),
        (256, 300, 236, "300"),
        (256, 300, 237, "237 clients need 301 open files, and this process may have 300: give a lower --max-clients"),
    ],
)
def test_a_server_may_open_as_many_files_as_it_has_clients(soft, hard, clients, told):
    program = PROGRAM.format(soft=soft, hard=hard, clients=clients)
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.startswith(told), ran.stdout
