"""Attacks on rings and pages, and a device in the place of another."""

import pytest

import omap
from host.testing import running_relay
from omap.device import read_counter, write_counter
from omap.errors import DeviceFaultError, MapChangedError, ReplayedError, UnknownFateError
from omap.regmap import Fault, State
from omap.wire import LEAST_RING_LINES, Counter
from tests.support.host.faults import PARAMS, batch, use
from tests.support.host.rogue import CLIENT, RogueRelay


def at_entry(number, attack):
    """Attack the rings before the device sees command ``number`` (counted over all connections)."""

    def ring(relay):
        if read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) == number + 1:
            attack(relay)

    return ring


def old_lap(relay):
    """Put back what the entry held one lap ago."""
    entry = relay.layout.entry(relay.layout.commands, relay.old["at"])
    relay.buffer[entry] = relay.old["record"]


def old_ring(relay):
    """Put back the whole command ring as it was."""
    start = relay.layout.commands
    relay.buffer[start : start + len(relay.old["ring"])] = relay.old["ring"]


def one_more(relay):
    """Say that there is a command more than was put there."""
    write_counter(relay.buffer, Counter.COMMANDS_WRITTEN, read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) + 1)


def empty_entry(relay):
    """Take away a command but not its place."""
    number = read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) - 1
    relay.buffer[relay.layout.entry(relay.layout.commands, number)] = bytes(relay.layout.record_bytes)


def flip_pages(relay):
    for page in range(PARAMS.pages):
        relay.buffer[relay.layout.pages + page * PARAMS.page_bytes + 5] ^= 16


def old_pages(relay):
    relay.buffer[relay.layout.pages :] = relay.old["pages"]


def exchange_pages(relay):
    pages = bytes(relay.buffer[relay.layout.pages :])
    size = PARAMS.page_bytes
    relay.buffer[relay.layout.pages :] = pages[size:] + pages[:size]


RINGS = [old_lap, old_ring, one_more]
PAGES = [flip_pages, old_pages, exchange_pages]


@pytest.mark.parametrize("attack", RINGS + PAGES)
def test_attacks_on_rings_and_pages(attack):
    """A record out of its turn costs its session, and a bad page costs the map."""
    with RogueRelay(PARAMS, ring_lines=LEAST_RING_LINES) as relay:
        relay.old = {"pages": bytes(relay.buffer[relay.layout.pages :])}

        def ring(relay):
            number = read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) - 1
            start = relay.layout.commands
            if number == 12:
                relay.old |= {"at": 20, "record": relay.buffer[relay.layout.entry(start, 12)]}
                relay.old["ring"] = bytes(relay.buffer[start : relay.layout.responses])
            if number == 20:
                attack(relay)

        relay.ring = ring
        with omap.connect(relay.url, client=CLIENT, timeout=0.5, window=4) as client:
            assert type(use(client, {}, batches=9)) is UnknownFateError
            fault = Fault(relay.device.registers.read("FAULT"))
            if attack in PAGES:
                assert (relay.device.state, fault) == (State.FAULT, Fault.PAGE_TAG)
                with pytest.raises(omap.OmapError):
                    client.ping()
            else:
                assert (relay.device.state, fault) == (State.READY, Fault.NONE)
                relay.ring = lambda relay: None
                assert client.ping().sequence == 18 + (attack is one_more)  # which attacks after command 20 has run


def test_an_entry_that_was_emptied_is_refused_and_its_command_never_runs():
    with RogueRelay(PARAMS, ring_lines=LEAST_RING_LINES) as relay:
        relay.ring = at_entry(5, empty_entry)
        with omap.connect(relay.url, client=CLIENT, timeout=0.5, window=1) as client:
            with pytest.raises(
                UnknownFateError, match="without proof: .* the record is none of this version"
            ) as caught:
                client.execute(batch(0))
            assert (caught.value.answered, caught.value.in_doubt) == (3, 1)
            assert client.ping().sequence == 3


def test_old_contents_of_the_response_ring_are_noticed():
    with RogueRelay(PARAMS, ring_lines=LEAST_RING_LINES) as relay:
        laps = []

        def old_lap(connection, number, record):
            laps.append(record)
            return [laps[number - 8] if number == 20 else record]

        relay.response = old_lap
        with omap.connect(relay.url, client=CLIENT, timeout=0.5) as client:
            error = use(client, {}, batches=3)
            assert type(error) is ReplayedError
            assert "response 10 came again; response 18 is next" in str(error)


def test_a_device_in_the_place_of_another_is_noticed():
    with RogueRelay(PARAMS) as relay, omap.connect(relay.url, client=CLIENT, timeout=0.5) as client:
        client.put(b"mine", b"data")
        relay.in_thread(relay.restart_device)
        with pytest.raises(UnknownFateError, match="open no longer"):
            client.get(b"mine")
        for _ in range(2):  # it stays refused, and would be believed again if the first came back
            with pytest.raises(MapChangedError, match="another was put in its place"):
                client.get(b"mine")


def test_the_client_is_told_that_the_device_has_latched_a_fault(key_file):
    with running_relay(PARAMS, key_file) as relay:
        with omap.connect(relay.address, client=relay.client, timeout=5) as client:
            client.put(b"mine", b"data")
            pages = relay.transport.layout.pages
            for page in range(PARAMS.pages):
                relay.transport.buffer[pages + page * PARAMS.page_bytes] ^= 1
            with pytest.raises(UnknownFateError, match="latched a fault and erased its keys"):
                client.get(b"mine")
            with pytest.raises(DeviceFaultError, match="read its fault register, then format it"):
                client.get(b"mine")
        with pytest.raises(DeviceFaultError):
            omap.connect(relay.address, client=relay.client, timeout=5)
