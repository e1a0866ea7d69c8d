"""A switch without sockets: a stepped model, ports whose client is the test, and a clock that is set by hand."""

from host.device.driver import Driver
from host.model.model import ModelTransport
from host.records import split
from host.relay.port import Limits, Numbers, Port
from host.relay.switch import Switch
from omap.credentials import Credential, provision
from omap.operations import Kind, Operation
from omap.presets import preset
from omap.session import ClientSession
from omap.wire import LEAST_RING_LINES, LINE_BYTES, RecordType, Refusal, read_header

PARAMS = preset("TINY")
KEY = bytes(range(32))
SIZE, RING = LINE_BYTES, LEAST_RING_LINES
NOP = Operation(Kind.NOP)


def fresh(replaces=0, name=b""):
    """Return the client's end of a new session."""
    return ClientSession(PARAMS, provision(KEY, Credential(name=name)), replaces=replaces)


class Client(Port):
    """A port whose client is this test."""

    def __init__(self, rig, group="198.51.100.1"):
        super().__init__()
        self.rig = rig
        self.group = group
        self.session = fresh()
        self.received = []
        self.reasons = []
        self.open_sessions = self.ends = 0

    def deliver(self, records):
        self.received += split(bytes(records))

    def opened(self):
        self.open_sessions += 1

    def over(self):
        self.ends += 1

    def taken(self):
        pass

    def disconnect(self, reason):
        self.reasons.append(reason)
        self.rig.switch.forget(self)

    def send(self, *records):
        self.incoming += b"".join(records)
        self.rig.switch.activate(self)

    def nops(self, count, each=1):
        """Send so many records of so many operations each."""
        self.send(*[self.session.seal([NOP] * each) for _ in range(count)])

    def handshake(self):
        self.send(self.session.hello())
        self.rig.run()
        self.send(self.session.confirm(self.received.pop()))
        self.rig.run()
        self.session.opened(self.received.pop())
        return self

    def check(self, count):
        """Open exactly ``count`` answers."""
        assert len(self.received) == count
        for record in self.received:
            self.session.open(record)
        self.received.clear()

    @property
    def refusals(self):
        headers = [read_header(record) for record in self.received]
        self.received.clear()
        assert all(header.type == RecordType.REFUSED for header in headers)
        return [Refusal(header.count) for header in headers]


class Rig:
    """A switch over a stepped model, and a clock that is set by hand."""

    def __init__(self, ring_lines=RING, **limits):
        self.transport = ModelTransport(PARAMS, KEY, ring_lines=ring_lines, stepped=True)
        self.driver = Driver(self.transport, PARAMS)
        self.driver.start()
        self.now = 0.0
        self.numbers, self.limits = Numbers(), Limits(**limits)
        self.switch = Switch(self.driver, self.limits, self.numbers, lambda: self.now)

    def run(self):
        """Go on until nothing moves."""
        while True:
            more = self.switch.pump()
            if not self.transport.step() + self.switch.collect() + more:
                return

    @property
    def state(self):
        return self.transport.device.state
