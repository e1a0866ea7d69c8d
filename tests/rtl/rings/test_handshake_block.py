# amaranth: UnusedElaboratable=no
"""The handshake block: as the reference, bit for bit, and what it must never do or keep."""

import random
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omap.credentials import Credential, Right
from omap.lineage import NO_ANCESTORS, NO_MAP, Ancestor, Lineage
from omap.presets import preset
from omap.sessions import DeviceSessions
from omap.wire import PENDING_HANDSHAKES, Header, RecordType, Refusal, read_header
from rtl.rings.handshake import Handshake
from sim.bench.amaranth_bench import AmaranthBench
from sim.bench.compiled import Design
from sim.bench.secrecy import differences, state
from tests.support.rtl.session_ends import MAP_ID, ROOT_KEY, Client, drawn, number

ANSWER_CYCLES = 1200
"""Cycles in which a command is answered, and more."""

NAME = b"somebody".ljust(22, b"\0")

IMPOSSIBLE = {
    "no rights": bytes(10) + NAME,
    "rights that there are not": bytes([4, *bytes(9)]) + NAME,
    "rights in other bits": bytes([0x81, *bytes(9)]) + NAME,
    "a prefix longer than a key": bytes([3, 5, *b"abcde", *bytes(3)]) + NAME,
    "a prefix longer than any": bytes([3, 9, *b"abcdefgh"]) + NAME,
    "a prefix longer than its length": bytes([3, 2, *b"abc", *bytes(5)]) + NAME,
    "a byte where no prefix is": bytes([3, 0, *bytes(7), 1]) + NAME,
}
"""Credentials that no client of TINY can have: its keys have 4 bytes."""


@cache
def design(name):
    return Design(Handshake(preset(name))), preset(name)


class Twin:
    """The block and the reference; each command is given to both."""

    def __init__(self, make, params, rng, *, root_key=ROOT_KEY, idle=0.0, lineage=NO_ANCESTORS):
        self.params, self.rng, self.root_key = params, rng, root_key
        self.bench = make(rng.randrange(1 << 30))
        self.model = DeviceSessions(params, root_key, nonce=self._nonce, lineage=lineage)
        self.lineage = lineage
        for name, value in {"root_key": number(root_key), "present": 1, "map_id": number(MAP_ID)}.items():
            self.bench.set(name, value)
        for name in ("i", "i_nonce"):
            self.bench.source(name, idle=idle)
        for name in ("o", "o_keys"):
            self.bench.sink(name, idle=idle)
        self.took = []  # cycles that each answer took

    def _nonce(self):
        nonce = self.rng.randbytes(16)
        self.bench.source("i_nonce").push([nonce])
        return nonce

    def client(self, credential=None, **options):
        return Client(
            self.params, self.rng, credential or drawn(self.rng, self.params), root_key=self.root_key, **options
        )

    def feed(self, record):
        """Give a command to both, compare the answers, and return the reference's."""
        header = read_header(record)
        confirm = header.type == RecordType.CONFIRM
        answer = self.model.confirm(record) if confirm else self.model.hello(record, MAP_ID)
        self.bench.set("kept", self.lineage.kept(record[48:64]) if confirm else 0)
        self.bench.source("i").push([confirm | header.session << 1 | number(record[16:64]) << 33])
        begin, sink = self.bench.cycle, self.bench.sink("o")
        while not (came := sink.take()):
            assert self.bench.cycle < begin + 4 * ANSWER_CYCLES
            self.bench.run(20)
        self.took.append(int(sink.cycles[-1]) - begin)
        (came,) = came
        refusal, session, body = came & 15, came >> 4 & (1 << 32) - 1, came >> 36
        wanted = read_header(answer)
        assert refusal == (wanted.count if wanted.type == RecordType.REFUSED else 0)
        assert refusal or session == wanted.session
        assert body == number(answer[16:64])
        assert not any(answer[64:])
        return answer

    def taken_keys(self):
        """Return the keys that the block gave out since the last call, as bytes."""
        return [keys.to_bytes(64, "little") for keys in self.bench.sink("o_keys").take()]

    def open(self, client):
        answer = self.feed(client.hello())
        self.feed(client.confirm(answer))
        keys = client.keys(answer)
        assert self.taken_keys() == [keys.command + keys.response]


def compiled(name):
    made, params = design(name)
    return lambda seed: made.bench(seed=seed), params


def flipped(record, bit):
    altered = bytearray(record)
    altered[16 + bit // 8] ^= 1 << bit % 8
    return bytes(altered)


def with_credential(hello, credential):
    return hello[:32] + credential + hello[64:]


@settings(max_examples=30)
@given(
    seed=st.integers(0, 1 << 32),
    steps=st.lists(
        st.tuples(st.sampled_from(["hello", "damaged", "confirm", "wrong"]), st.integers(0, 383)), max_size=12
    ),
    idle=st.sampled_from([0.0, 0.7]),
)
@pytest.mark.sec_cm("SESSIONS.KEY.OWN")
@pytest.mark.sec_cm("SESSIONS.KEY.CONFIRM")
@pytest.mark.sec_cm("SESSIONS.KEY.UNREADABLE")
@pytest.mark.sec_cm("SESSIONS.CREDENTIAL.CHECKED")
@pytest.mark.sec_cm("SESSIONS.LINEAGE.PROVEN")
def test_answers_and_keys_equal_the_reference(seed, steps, idle):
    for name in ("TINY", "WIDE"):
        rng = random.Random(seed)
        ancestors = [Ancestor(rng.randbytes(16), rng.getrandbits(64)) for _ in range(rng.randint(0, 3))]
        twin = Twin(*compiled(name), rng, idle=idle, lineage=Lineage(tuple(ancestors)))
        maps = [NO_MAP, MAP_ID, *(ancestor.map_id for ancestor in ancestors)]
        begun = []
        for step, draw in steps:
            if step == "hello":
                client = twin.client(replaces=draw)
                begun.append((client, twin.feed(client.hello())))
            elif step == "damaged":
                twin.feed(flipped(twin.client().hello(), 128 + draw % 100))  # rights, length and prefix have 80 bits
            elif begun:
                client, answer = begun[draw % len(begun)]
                record = client.confirm(answer, rng.choice(maps))
                twin.feed(flipped(record, draw) if step == "wrong" else record)
                keys = client.keys(answer)
                assert twin.taken_keys() in ([], [keys.command + keys.response])
        twin.open(twin.client())


@pytest.mark.parametrize("credential", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
@pytest.mark.sec_cm("SESSIONS.CREDENTIAL.CHECKED")
def test_a_credential_that_no_client_can_have_is_refused_before_a_key_is_derived(credential):
    twin = Twin(*compiled("TINY"), random.Random(1))
    client = twin.client()
    answer = twin.feed(with_credential(client.hello(), credential))
    assert read_header(answer).count == Refusal.CREDENTIAL
    assert twin.took[0] < 10  # a key takes more than a hundred
    assert not twin.bench.source("i_nonce").transfers
    assert read_header(twin.feed(client.hello())).session == 1  # the refused one took no number
    twin.feed(client.confirm(twin.feed(client.hello())))


@pytest.mark.parametrize("prefix", [b"", b"a", b"abcd", b"abcdefgh"])
@pytest.mark.parametrize("rights", [1, 2, 3])
def test_credentials_at_the_limits_are_taken(rights, prefix):
    twin = Twin(*compiled("WIDE"), random.Random(2))
    twin.open(twin.client(Credential(Right(rights), prefix, b"\xff" * 22)))


@pytest.mark.parametrize("what", ["name", "rights", "prefix"])
@pytest.mark.sec_cm("SESSIONS.KEY.OWN")
def test_who_holds_the_key_of_another_credential_opens_nothing(what):
    """The client's library takes the key for the credential; a hostile one sends another credential."""
    mine = Credential(Right.READ, b"ab", b"me")
    theirs = {
        "name": Credential(Right.READ, b"ab", b"you"),
        "rights": Credential(Right.READ | Right.WRITE, b"ab", b"me"),
        "prefix": Credential(Right.READ, b"", b"me"),
    }[what]
    twin = Twin(*compiled("TINY"), random.Random(3))
    client = twin.client(mine)
    answer = twin.feed(with_credential(client.hello(), theirs.pack()))
    assert client.keys(answer).confirm_device() != answer[48:64]  # the device proves that it means the other credential
    header = Header(RecordType.CONFIRM, 0, 1, 0, read_header(answer).session, 0)
    record = header.pack() + client.keys(answer).confirm_client() + bytes(32)
    assert read_header(twin.feed(record)).count == Refusal.WRONG_KEY
    assert not twin.taken_keys()


def test_pending_handshakes_keep_their_credentials_and_known_maps_show():
    twin = Twin(*compiled("TINY"), random.Random(4))
    clients = [twin.client() for _ in range(PENDING_HANDSHAKES)]
    answers = [twin.feed(client.hello()) for client in clients]
    for at in twin.rng.sample(range(PENDING_HANDSHAKES), PENDING_HANDSHAKES):
        client, answer = clients[at], answers[at]
        header = read_header(answer)
        known = twin.rng.randbytes(16)
        record = client.confirm(answer, known)
        twin.bench.sink("o", waits=[100])
        twin.bench.source("i").push([1 | header.session << 1 | number(record[16:64]) << 33])
        twin.bench.run_until(limit=ANSWER_CYCLES, transfers={"o_keys": 1})
        assert twin.bench.get("known") == number(known)
        assert twin.bench.get("credential") == number(client.credential.pack())
        twin.bench.run_until(limit=ANSWER_CYCLES, transfers={"o": 1})
        keys = client.keys(answer)
        assert twin.taken_keys() == [keys.command + keys.response]


def test_a_hello_waits_for_the_root_key():
    twin = Twin(*compiled("TINY"), random.Random(5))
    twin.bench.set("present", 0)
    twin.bench.source("i_nonce").push([bytes(16)])
    client = twin.client()
    twin.bench.source("i").push([number(client.hello()[16:64]) << 33])
    twin.bench.run(ANSWER_CYCLES)
    assert not twin.bench.source("i_nonce").transfers
    twin.bench.set("present", 1)
    twin.bench.run(ANSWER_CYCLES)
    assert twin.bench.sink("o").transfers == 1


def times(seed):
    """Return how long HELLO, a wrong CONFIRM and the right one take; keys, nonces and credential follow from a seed."""
    rng = random.Random(seed)
    twin = Twin(*compiled("TINY"), rng, root_key=rng.randbytes(32))
    client = twin.client()
    record = client.confirm(twin.feed(client.hello()))
    for bit in (0, 64, 127):  # a confirmation that is wrong early, or late
        twin.feed(flipped(record, bit))
    twin.feed(record)
    hello, *wrong, right = twin.took
    assert len(set(wrong)) == 1
    return hello, wrong[0], right


@pytest.mark.sec_cm("SESSIONS.CONFIRM.CONST_TIME")
@pytest.mark.sec_cm("SESSIONS.TIME.CONST")
def test_times_do_not_depend_on_keys_or_credentials():
    assert times(1) == times(2) == times(3)


@pytest.mark.parametrize("end", ["hello", "wrong", "confirm"])
@pytest.mark.sec_cm("SESSIONS.KEY.CLEARED")
def test_nothing_stays_of_client_and_session_keys(end):
    states = []
    for seed in (1, 2):
        twin = Twin(
            lambda seed: AmaranthBench(Handshake(preset("TINY")), seed=seed),
            preset("TINY"),
            random.Random(3),
            root_key=bytes([seed]) * 32,
        )
        client = twin.client()
        answer = twin.feed(client.hello())
        if end != "hello":
            record = client.confirm(answer)
            twin.feed(flipped(record, 5) if end == "wrong" else record)
        twin.bench.set("root_key", 0)
        twin.bench.run(3)
        states.append(state(twin.bench))
    assert not differences(*states)


@pytest.mark.sec_cm("SESSIONS.KEY.CLEARED")
def test_the_client_key_is_cleared_while_the_keys_of_the_session_are_derived():
    twin = Twin(lambda seed: AmaranthBench(Handshake(preset("TINY")), seed=seed), preset("TINY"), random.Random(6))
    client = twin.client()
    twin.bench.source("i").push([number(client.hello()[16:64]) << 33])
    twin.bench.source("i_nonce").push([bytes(16)])
    twin.bench.run(400)  # the client's key takes 148 cycles, and the keys of the session 696
    held = [value for _, value in state(twin.bench)]
    assert held.count(number(client._client.key)) == 2  # the key of the second KDF, and of the CMAC in it
    assert number(ROOT_KEY) not in [value for name, value in state(twin.bench) if name != "root_key"]
