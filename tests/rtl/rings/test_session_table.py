"""The table of open sessions: as the reference has it, whoever opens sessions and however many."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.credentials import Credential, Right
from omap.operations import Operation
from omap.presets import preset
from omap.sessions import SHARE, DeviceSessions
from omap.wire import SESSIONS, read_header
from rtl.rings.record import RIGHTS
from rtl.rings.session_table import ROW, SessionTable
from sim.bench.compiled import Design
from sim.models.streams import pack
from tests.support.rtl.session_ends import MAP_ID, ROOT_KEY, Client, drawn, number

SEEK_CYCLES = 3 * SESSIONS + 4
PARAMS = preset("TINY")
DESIGN = []


class Twin:
    """The block and the reference, whose sessions are opened with real handshakes."""

    def __init__(self, rng):
        if not DESIGN:
            DESIGN.append(Design(SessionTable()))
        self.rng, self.bench = rng, DESIGN[0].bench(seed=0)
        self.model = DeviceSessions(PARAMS, ROOT_KEY, nonce=lambda: rng.randbytes(16))
        self.clients = {}  # by session index

    def _pulse(self, **values):
        for name, value in values.items():
            self.bench.set(name, value)
        self.bench.run(1)
        self.bench.set("use", 0)
        self.bench.set("opens", 0)
        self.bench.set("close", 0)

    def open(self, credential, replaces=0):
        """Open a session of both; return its index and the client."""
        client = Client(PARAMS, self.rng, credential, replaces=replaces)
        answer = self.model.confirm(client.confirm(self.model.hello(client.hello(), MAP_ID)))
        client.opened(answer)
        self.bench.set("credential", number(client.credential.pack()))
        self.bench.source("i_replaced").push([replaces])
        self.bench.run_until(limit=2 * SEEK_CYCLES, transfers={"o_place": 1})
        (place,) = self.bench.sink("o_place").take()
        assert place == client.session_index
        self._pulse(use=1, use_index=place, use_session=client.session, use_next=0, opens=1)
        self.clients[place] = client
        return client

    def use(self, client):
        """Use a session, whether it is open or not."""
        record = client.seal([Operation(0, bytes(4), b"")])
        header = read_header(record)
        if self.is_open(client):
            self.model.open(record, header)
            self._pulse(use=1, use_index=header.session_index, use_session=header.session, use_next=header.sequence + 1)

    def close(self, client):
        if self.is_open(client):
            self.model.close(read_header(client.seal([Operation(0, bytes(4), b"")])))
            self._pulse(close=1, close_index=client.session_index)

    def is_open(self, client):
        entry = self.model._table[client.session_index]
        return entry is not None and entry.session == client.session

    def compare(self):
        """Compare all places."""
        for index, entry in enumerate(self.model._table):
            self.bench.set("index", index)
            self.bench.set("rights_index", index)
            self.bench.run(1)
            row = ROW.from_bits(self.bench.get("row"))
            assert row.open == (entry is not None) == self.bench.get("open") >> index & 1
            if entry is None:
                continue
            assert (row.session, row.next) == (entry.session, entry.next)
            credential = self.clients[index].credential.pack()
            fields = {
                "read": credential[0] & 1,
                "write": credential[0] >> 1,
                "prefix_bytes": credential[1],
                "prefix": number(credential[2:10]),
            }
            assert self.bench.get("rights") == pack(RIGHTS, fields)


@settings(max_examples=25)
@given(
    seed=st.integers(0, 1 << 32),
    owners=st.integers(1, 5),
    steps=st.lists(
        st.tuples(st.sampled_from(["open", "replace", "use", "use", "close"]), st.integers(0, 99)), max_size=60
    ),
)
@pytest.mark.sec_cm("SESSIONS.OLD.FENCED")
@pytest.mark.sec_cm("SESSIONS.OLD.OWN")
@pytest.mark.sec_cm("SESSIONS.SHARE.BOUNDED")
def test_the_table_equals_the_reference(seed, owners, steps):
    twin = Twin(random.Random(seed))
    credentials = [drawn(twin.rng, PARAMS) for _ in range(owners)]
    clients = [twin.open(credentials[0])]
    for step, draw in [("open", owner) for owner in range(18)] * (seed % 2) + steps:
        client = clients[draw % len(clients)]
        if step == "open":
            clients.append(twin.open(credentials[draw % owners]))
        elif step == "replace":
            clients.append(twin.open(credentials[draw // 7 % owners], client.session))
        else:
            getattr(twin, step)(client)
    twin.compare()


def credentials(count):
    return [Credential(Right.READ, b"", bytes([65 + at])) for at in range(count)]


@pytest.mark.sec_cm("SESSIONS.OLD.OWN")
def test_a_session_replaces_one_of_its_own_credential_alone():
    """Nor one whose credential differs in a single bit, wherever it is."""
    twin = Twin(random.Random(1))
    mine = Credential(Right.READ, b"a", b"me")
    others = [
        Credential(Right.READ | Right.WRITE, b"a", b"me"),
        Credential(Right.READ, b"a\0", b"me"),
        Credential(Right.READ, b"c", b"me"),
        Credential(Right.READ, b"a", b"ne"),
        Credential(Right.READ, b"a", b"me" + bytes(19) + b"\x80"),
    ]
    kept = [twin.open(other) for other in others]
    for client in kept:
        twin.open(mine, client.session)
    assert all(twin.is_open(client) for client in kept)
    twin.compare()
    for other, client in zip(others, kept, strict=True):
        assert twin.open(other, client.session).session_index == client.session_index
    twin.compare()


@pytest.mark.sec_cm("SESSIONS.OLD.FENCED")
def test_a_session_is_closed_before_the_one_that_replaces_it_has_a_place():
    twin = Twin(random.Random(2))
    first, old = twin.open(credentials(1)[0]), twin.open(credentials(1)[0])
    twin.close(first)
    new = twin.open(credentials(1)[0], old.session)
    assert new.session_index < old.session_index  # the new one does not overwrite the old
    twin.compare()


@pytest.mark.parametrize("mine", range(1, SHARE + 3))
@pytest.mark.sec_cm("SESSIONS.SHARE.BOUNDED")
def test_a_client_that_opens_ever_more_sessions_closes_its_own(mine):
    twin = Twin(random.Random(mine))
    me, *others = credentials(1 + SESSIONS - mine)
    theirs = [twin.open(other) for other in others]
    own = [twin.open(me) for _ in range(mine)]
    for client in theirs:
        twin.use(client)  # theirs are the longest unused
    for client in own:
        twin.use(client)
    more = twin.open(me)
    assert more.session_index == (own if mine >= SHARE else theirs)[0].session_index
    twin.compare()
    for _ in range(3 * SESSIONS):
        twin.open(me)
    assert sum(twin.is_open(client) for client in theirs) == SESSIONS - max(mine, SHARE)
    twin.compare()


def test_a_place_is_found_in_a_fixed_time():
    times = set()
    for seed in range(3):
        twin = Twin(random.Random(seed))
        for owner in range(20):
            twin.open(credentials(5)[owner * (seed + 1) % 5], owner if seed else 0)
        taken = zip(twin.bench.source("i_replaced").cycles, twin.bench.sink("o_place").cycles, strict=True)
        times |= {int(end - begin) for begin, end in taken}
    assert len(times) == 1
