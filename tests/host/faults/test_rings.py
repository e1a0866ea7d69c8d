"""Attacks on rings and pages, and a device in the place of another."""

import pytest

import omap
from host.testing import running_relay
from omap.device import read_counter, write_counter
from omap.errors import DeviceFaultError, MapChangedError, ReplayedError, UnknownFateError
from omap.regmap import Fault, State
from omap.wire import LEAST_RING_LINES, LINE_BYTES, Counter
from tests.support.host.faults import PARAMS, batch, use
from tests.support.host.rogue import CLIENT, RogueRelay

BEFORE, AT = 12, 12 + LEAST_RING_LINES
"""Records of one line, a lap apart, counted with those of the handshake."""


def at_record(number, attack):
    """Attack the rings before the device sees record ``number`` (counted over all connections)."""

    def ring(relay):
        if relay.records == number + 1:
            attack(relay)

    return ring


def last_line(relay):
    """Return the number of the last line that was put into the command ring."""
    return read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) - 1


def put_back(relay, line, data):
    relay.layout.write_lines(memoryview(relay.buffer), relay.layout.commands, line, data)


def old_lap(relay):
    """Put back what the line held one lap ago."""
    put_back(relay, last_line(relay), relay.old["record"])


def old_ring(relay):
    """Put back the whole command ring as it was."""
    put_back(relay, 0, relay.old["ring"])


def one_more(relay):
    """Say that there is a command more than was put there."""
    write_counter(relay.buffer, Counter.COMMANDS_WRITTEN, read_counter(relay.buffer, Counter.COMMANDS_WRITTEN) + 1)


def empty_line(relay):
    """Take away a command, or the end of one, but not its place."""
    put_back(relay, last_line(relay), bytes(LINE_BYTES))


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
            view, start = memoryview(relay.buffer), relay.layout.commands
            if relay.records == BEFORE + 1:
                relay.old["record"] = relay.layout.read_lines(view, start, last_line(relay), 1)
                relay.old["ring"] = relay.layout.read_lines(view, start, 0, relay.layout.ring_lines)
            if relay.records == AT + 1:
                attack(relay)

        relay.ring = ring
        with omap.connect(relay.url, client=CLIENT, timeout=0.5, window=4) as client:
            assert type(use(client, {}, batches=20)) is UnknownFateError
            fault = Fault(relay.device.registers.read("FAULT"))
            if attack in PAGES:
                assert (relay.device.state, fault) == (State.FAULT, Fault.PAGE_TAG)
                with pytest.raises(omap.OmapError):
                    client.ping()
            else:
                assert (relay.device.state, fault) == (State.READY, Fault.NONE)
                relay.ring = lambda relay: None
                assert client.ping().sequence == AT - 2 + (attack is one_more)  # whose command has run


def test_a_line_that_was_emptied_is_refused_and_its_command_never_runs():
    with RogueRelay(PARAMS, ring_lines=LEAST_RING_LINES) as relay:
        relay.ring = at_record(5, empty_line)
        with omap.connect(relay.url, client=CLIENT, timeout=0.5, window=1) as client:
            with pytest.raises(
                UnknownFateError, match="without proof: .* the record is none of this version"
            ) as caught:
                client.execute(batch(0))
            assert (caught.value.answered, caught.value.in_doubt) == (3, 1)
            assert client.ping().sequence == 3


@pytest.mark.parametrize("each", [20])
def test_a_record_of_which_a_line_was_emptied_runs_not_at_all(each):
    with RogueRelay(PARAMS, ring_lines=LEAST_RING_LINES) as relay:
        relay.ring = at_record(5, empty_line)
        with omap.connect(relay.url, client=CLIENT, timeout=0.5) as client:
            error = use(client, {}, each=each)
            assert type(error) is UnknownFateError
            assert "was altered on its way to the device" in str(error)
            assert error.answered == 3 * each
            assert client.ping().sequence == 3 * each


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
