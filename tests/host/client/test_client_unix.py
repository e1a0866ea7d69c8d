"""Clients at the socket file of a relay."""

import asyncio

import pytest
from click.testing import CliRunner

import omap
from host.client.address import Address
from host.testing import running_relay
from omap.cli import main
from omap.errors import DeviceError, InputError
from omap.operations import Kind, Operation
from omap.presets import preset

PARAMS = preset("TINY")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a relay, 100 % local"


@pytest.fixture
def relay(key_file, path):
    with running_relay(PARAMS, key_file, unix=path) as relay:
        yield relay


@pytest.fixture
def url(relay):
    """The address of the socket file, as the relay tells it."""
    (url,) = (address for address in relay.relay.addresses if address.startswith("omap+unix:"))
    return url


def test_both_clients_work_at_a_socket_file(relay, url, path):
    batch = [Operation(Kind.PUT, bytes([0, 0, 0, n % 8]), bytes(4)) for n in range(3000)]
    with omap.connect(url, client=relay.client, record_limit=9) as client:
        assert client.settings.address == str(path)
        assert len(client.execute(batch)) == 3000
        assert len(client) == 8

    async def run():
        async with await omap.connect_async(url, client=relay.client) as client:
            assert len(await client.execute(batch)) == 3000

    asyncio.run(run())
    with omap.connect(url, client=relay.client, rate=500, count=9) as client:
        assert client.get(bytes(4)) == bytes(4)


def test_on_the_command_line(url, client_file):
    for _ in range(2):  # the second time with the witness of the first
        result = CliRunner().invoke(main, ["status", "--url", url, "--key-file", str(client_file)])
        assert result.exit_code == 0, result.output


def test_what_can_go_wrong(tmp_path, relay, url):
    for absent in (tmp_path / "absent", tmp_path / "no folder" / "absent"):
        for connect in (omap.connect, lambda *url, **options: asyncio.run(omap.connect_async(*url, **options))):
            with pytest.raises(DeviceError, match=f"nothing listens at {absent}: start `omap serve` there"):
                connect(f"omap+unix://{absent}", client=relay.client)
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="nothing listens at .*file: start"):
        omap.connect(f"omap+unix://{tmp_path / 'file'}", client=relay.client)
    with pytest.raises(InputError, match="is a socket file, to which nobody else listens: leave out TLS"):
        omap.connect(url, client=relay.client, tls=True)
    with pytest.raises(DeviceError, match=r"can't be reached: .*(too long|path)"):
        omap.connect(f"omap+unix:///{'long' * 50}", client=relay.client)


@pytest.mark.parametrize(
    ("url", "path"), [("omap+unix:///run/omap.sock", "/run/omap.sock"), ("omap+unix:///a%20b%25", "/a b%")]
)
def test_the_path_in_an_address(url, path):
    where = Address.parse(url)
    assert (where.host, where.port, where.path, str(where)) == ("", 0, path, path)
