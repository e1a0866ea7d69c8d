"""Which peers count as one, and who makes room when a server is full."""

from dataclasses import dataclass

import pytest

from host.peers import SETTLE_SECONDS, peer_group, who_makes_room


@pytest.mark.parametrize(
    ("name", "group"),
    [
        (("192.0.2.7", 5), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 5, 0, 0), "2001:db8:1:2::/64"),
        (("2001:db8:1:2:ffff::", 6, 0, 0), "2001:db8:1:2::/64"),
        (("::ffff:192.0.2.7", 5, 0, 0), "192.0.2.7"),
        (("fe80::1%eth0", 5, 0, 2), "fe80::/64"),
        ("", "local"),
        (None, "local"),
        ((), "local"),
    ],
)
def test_an_owner_of_addresses_is_one_peer(name, group):
    assert peer_group(name) == group


@dataclass
class Guest:
    number: int
    group: str
    since: float = 0.0
    proven: bool = False
    expectant: bool = False


def room(*guests, group="new", now=10.0):
    guest = who_makes_room(guests, group, now)
    return None if guest is None else guest.number


def test_one_of_the_address_that_has_most_makes_room():
    late = 10.0
    assert room(Guest(1, "a", late), Guest(2, "b", late), Guest(3, "b", late)) == 2
    assert room(Guest(1, "a", late), Guest(2, "b", late, expectant=True), Guest(3, "b", late)) == 3
    assert room(Guest(1, "a", late), Guest(2, "b", late, expectant=True)) is None
    assert room(Guest(1, "b", late), Guest(2, "b", late), group="b") is None


def test_who_has_proved_itself_stays():
    assert room(Guest(1, "a", proven=True), Guest(2, "a", proven=True)) is None
    assert room(Guest(1, "a", proven=True), Guest(2, "a", proven=True), Guest(3, "b")) == 3
    assert room() is None


def test_among_equals_who_was_there_long_enough_and_had_its_turn_makes_room():
    now = 10.0
    before = now - SETTLE_SECONDS
    assert room(Guest(1, "a", before), Guest(2, "b", before), now=now) == 1
    assert room(Guest(1, "a", before, expectant=True), Guest(2, "b", before), now=now) == 2
    assert room(Guest(1, "a", before + 0.01), now=now) is None
    assert room(Guest(1, "a", before), group="a", now=now) == 1
    assert room(Guest(1, "a", before), Guest(2, "b", before), Guest(3, "b", now), group="a", now=now) == 2
