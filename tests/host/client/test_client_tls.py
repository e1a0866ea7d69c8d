"""TLS between client and relay: optional, because secrecy does not depend on it."""

import asyncio
import ssl

import pytest
from click.testing import CliRunner

import omap
from host.commands.serve import tls_context
from host.testing import running_relay
from omap.cli import main
from omap.errors import DeviceError, InputError
from omap.operations import Kind, Operation
from omap.presets import preset
from tests.support.host.certificates import make_certificate

PARAMS = preset("TINY")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Paths of a certificate for this machine's loopback address, and of its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def relay(key_file, certificate):
    with running_relay(PARAMS, key_file, tls=tls_context(*certificate)) as relay:
        yield relay


def test_both_clients_speak_tls(relay, certificate):
    batch = [Operation(Kind.PUT, bytes([0, 0, 0, n % 8]), bytes(4)) for n in range(3000)]
    for tls in (certificate[0], str(certificate[0]), ssl.create_default_context(cafile=certificate[0])):
        with omap.connect(relay.address, client=relay.client, tls=tls, record_limit=1000) as client:
            assert len(client.execute(batch)) == 3000
            assert len(client) == 8

    async def run():
        async with await omap.connect_async(relay.address, client=relay.client, tls=certificate[0]) as client:
            assert len(await client.execute(batch)) == 3000

    asyncio.run(run())


def test_on_the_command_line(relay, certificate, client_file):
    options = ["--url", relay.address, "--key-file", str(client_file), "--tls-ca", str(certificate[0])]
    result = CliRunner().invoke(main, ["status", *options])
    assert result.exit_code == 0, result.output


def test_what_can_go_wrong(relay, certificate, tmp_path, key_file):
    options = {"client": relay.client, "timeout": 2}
    with pytest.raises(DeviceError, match="no TLS connection to .*: CERTIFICATE_VERIFY_FAILED; check its certificate"):
        omap.connect(relay.address, tls=True, **options)
    with pytest.raises(DeviceError, match="no TLS connection to"):
        asyncio.run(omap.connect_async(relay.address, tls=True, **options))
    with pytest.raises(DeviceError, match="does it speak without TLS"):
        omap.connect(relay.address, **options | {"timeout": 0.3})
    with pytest.raises(InputError, match="the certificates in .* can't be used"):
        omap.connect(relay.address, tls=tmp_path / "absent", **options)
    with running_relay(PARAMS, key_file) as plain, pytest.raises(DeviceError, match="check its cert.* speaks TLS"):
        omap.connect(plain.address, tls=certificate[0], **options)
