"""Commands about values, and the plan of each."""

from __future__ import annotations

import decimal
import re

from host.redis import replies
from host.redis.calls import (
    ABSOLUTE,
    HIGHEST,
    LOWEST,
    RELATIVE,
    SYNTAX,
    Call,
    parse_database,
    parse_integer,
    wrong_arity,
)
from host.redis.places import Place, Refused
from host.redis.plans import Plan
from host.redis.view import View
from omap.operations import Kind

NO_SUCH_KEY = "ERR no such key"
NOT_A_FLOAT = "ERR value is not a valid float"
LONGEST_FLOAT = 256
"""Most characters of a number with a fraction."""

_FLOAT = re.compile(rb"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,4})?")
_FRACTION = decimal.Decimal(10) ** -17
_EXACT = decimal.Context(prec=400, rounding=decimal.ROUND_HALF_EVEN)
_LARGEST_FLOAT = decimal.Decimal(10) ** 308


# -- one pass: one operation a key ----------------------------------------------------------------------------------


def get(call: Call) -> Plan:
    """``GET key``."""
    place, form = call.place(call.words[1]), call.form
    return Plan(lambda view: form.bulk(view.value(place)), (place,), Kind.GET)


def mget(call: Call) -> Plan:
    """``MGET key ...``."""
    places = [call.place(name) for name in call.words[1:]]
    return Plan(lambda view: call.form.bulks([view.value(place) for place in places]), places, Kind.GET)


def strlen(call: Call) -> Plan:
    """``STRLEN key``."""
    place = call.place(call.words[1])
    return Plan(lambda view: replies.integer(len(view.value(place) or b"")), (place,), Kind.GET)


def exists(call: Call) -> Plan:
    """``EXISTS key ...`` and ``TOUCH key ...``; a key given twice counts twice."""
    places = [call.place(name) for name in call.words[1:]]
    return Plan(lambda view: replies.integer(sum(view.value(place) is not None for place in places)), places, Kind.GET)


def type_of(call: Call) -> Plan:
    """``TYPE key``."""
    place = call.place(call.words[1])
    return Plan(lambda view: b"+string\r\n" if view.value(place) is not None else b"+none\r\n", (place,), Kind.GET)


def getrange(call: Call) -> Plan:
    """``GETRANGE key start end`` and ``SUBSTR key start end``."""
    place, first, last = call.place(call.words[1]), parse_integer(call.words[2]), parse_integer(call.words[3])

    def apply(view: View) -> bytes:
        value = view.value(place) or b""
        if first < 0 and last < 0 and first > last:
            return call.form.bulk(b"")
        start = max(0, first + len(value) if first < 0 else first)
        end = max(0, last + len(value) if last < 0 else last)
        return call.form.bulk(value[start : end + 1])

    return Plan(apply, (place,), Kind.GET)


def delete(call: Call) -> Plan:
    """``DEL key ...`` and ``UNLINK key ...``."""
    places = [call.place(name) for name in call.words[1:]]

    def apply(view: View) -> bytes:
        count = 0
        for place in places:
            count += view.there(place)
            view.delete(place)
        return replies.integer(count)

    return Plan(apply, places, Kind.DELETE)


def getdel(call: Call) -> Plan:
    """``GETDEL key``."""
    place = call.place(call.words[1])

    def apply(view: View) -> bytes:
        value = view.value(place)
        view.delete(place)
        return call.form.bulk(value)

    return Plan(apply, (place,), Kind.DELETE)


def getset(call: Call) -> Plan:
    """``GETSET key value``."""
    return _set(call, call.place(call.words[1]), call.words[2], previous=True)


def _set(call: Call, place: Place, value: bytes, expiry: int | None = None, *, previous: bool = False) -> Plan:
    """Return the plan of a value that is written whatever is found."""

    def apply(view: View) -> bytes:
        reply = call.form.bulk(view.value(place)) if previous else replies.OK
        view.put(place, value, expiry)
        return reply

    return Plan(apply, (place,), Kind.PUT)


def setex(call: Call) -> Plan:
    """``SETEX key seconds value`` and ``PSETEX key milliseconds value``."""
    unit = 1 if call.name == "psetex" else 1000
    expiry = call.parse_expiry(call.words[2], unit, absolute=False, positive=True)
    return _set(call, call.place(call.words[1]), call.words[3], expiry)


def mset(call: Call) -> Plan:
    """``MSET key value ...``. If the map becomes full on the way, the values that found room stay."""
    if len(call.words) % 2 == 0:
        raise wrong_arity(call.name)
    pairs = [(call.place(n), value) for n, value in zip(call.words[1::2], call.words[2::2], strict=True)]

    def apply(view: View) -> bytes:
        for place, value in pairs:
            view.put(place, value)
        return replies.OK

    return Plan(apply, [place for place, _ in pairs], Kind.PUT)


# -- two passes: a GET a key, then a PUT, DELETE or NOP ---------------------------------------------------------------


def set_value(call: Call) -> Plan:
    """``SET key value [NX | XX] [GET] [EX | PX | EXAT | PXAT time | KEEPTTL]``: two passes with NX, XX or KEEPTTL."""
    name, value = call.words[1], call.words[2]
    if len(call.words) == 3:
        return _set(call, call.place(name), value)
    condition, previous, keep, expiry = None, False, False, None
    rest = iter(call.words[3:])
    for option in map(bytes.lower, rest):
        if option in (b"nx", b"xx") and condition in (None, option):
            condition = option
        elif option == b"get":
            previous = True
        elif option == b"keepttl" and expiry is None:
            keep = True
        elif option in RELATIVE | ABSOLUTE and not keep and (expiry is None or option == expiry[0]):
            if (time := next(rest, None)) is None:
                raise Refused(SYNTAX)
            expiry = option, time  # of the same option given twice the second holds
        else:
            raise Refused(SYNTAX)
    when = _when(call, *expiry) if expiry else None
    place = call.place(name)
    if condition is None and not keep:
        return _set(call, place, value, when, previous=previous)
    call.fits(place, value, when)

    def apply(view: View) -> bytes:
        found = view.value(place)
        holds = condition is None or (found is None) == (condition == b"nx")
        if holds:
            view.put(place, value, view.expiry(place) if keep else when)
        return call.form.bulk(found) if previous else replies.OK if holds else call.form.null

    return Plan(apply, (place,))


def _when(call: Call, option: bytes, time: bytes) -> int:
    unit = (RELATIVE | ABSOLUTE)[option]
    return call.parse_expiry(time, unit, absolute=option in ABSOLUTE, positive=True)


def setnx(call: Call) -> Plan:
    """``SETNX key value``."""
    return _set_if_none(call, [(call.place(call.words[1]), call.words[2])])


def msetnx(call: Call) -> Plan:
    """``MSETNX key value ...``."""
    if len(call.words) % 2 == 0:
        raise wrong_arity(call.name)
    return _set_if_none(
        call, [(call.place(n), value) for n, value in zip(call.words[1::2], call.words[2::2], strict=True)]
    )


def _set_if_none(call: Call, pairs: list[tuple[Place, bytes]]) -> Plan:
    for place, value in pairs:
        call.fits(place, value)

    def apply(view: View) -> bytes:
        if sum(view.value(place) is not None for place, _ in pairs):  # looks at all: one that can't be read is an error
            return replies.integer(0)
        for place, value in pairs:
            view.put(place, value)
        return replies.integer(1)

    return Plan(apply, [place for place, _ in pairs])


def append(call: Call) -> Plan:
    """``APPEND key value``."""
    place = call.place(call.words[1])

    def apply(view: View) -> bytes:
        value = (view.value(place) or b"") + call.words[2]
        view.put(place, value, view.expiry(place))
        return replies.integer(len(value))

    return Plan(apply, (place,))


def setrange(call: Call) -> Plan:
    """``SETRANGE key offset value``."""
    place, offset, part = call.place(call.words[1]), parse_integer(call.words[2]), call.words[3]
    if offset < 0:
        raise Refused("ERR offset is out of range")
    if part:
        room = call.databases.params.value_bytes
        call.fits(place, bytes(min(offset + len(part), room + 1)))

    def apply(view: View) -> bytes:
        value = view.value(place) or b""
        if part:
            value = value[:offset].ljust(offset, b"\0") + part + value[offset + len(part) :]
            view.put(place, value, view.expiry(place))
        return replies.integer(len(value))

    return Plan(apply, (place,))


def incr(call: Call) -> Plan:
    """``INCR key``."""
    return _add(call, 1)


def decr(call: Call) -> Plan:
    """``DECR key``."""
    return _add(call, -1)


def incrby(call: Call) -> Plan:
    """``INCRBY key increment``."""
    return _add(call, parse_integer(call.words[2]))


def decrby(call: Call) -> Plan:
    """``DECRBY key decrement``."""
    decrement = parse_integer(call.words[2])
    if decrement == LOWEST:
        raise Refused("ERR decrement would overflow")
    return _add(call, -decrement)


def _add(call: Call, increment: int) -> Plan:
    place = call.place(call.words[1])

    def apply(view: View) -> bytes:
        found = view.value(place)
        number = (0 if found is None else parse_integer(found)) + increment
        if not LOWEST <= number <= HIGHEST:
            raise Refused("ERR increment or decrement would overflow")
        view.put(place, b"%d" % number, view.expiry(place))
        return replies.integer(number)

    return Plan(apply, (place,))


def incrbyfloat(call: Call) -> Plan:
    """``INCRBYFLOAT key increment``. Sums are exact to 17 decimals, where Redis has those of its machine's numbers."""
    place, increment = call.place(call.words[1]), _parse_float(call.words[2])

    def apply(view: View) -> bytes:
        found = view.value(place)
        total = _EXACT.add(_parse_float(found) if found is not None else decimal.Decimal(0), increment)
        if abs(total) > _LARGEST_FLOAT:
            raise Refused("ERR increment would produce NaN or Infinity")
        text = f"{_EXACT.quantize(total, _FRACTION):f}".rstrip("0").rstrip(".")
        written = (text if text.strip("-0.") else "0").encode()
        view.put(place, written, view.expiry(place))
        return call.form.bulk(written)

    return Plan(apply, (place,))


def _parse_float(data: bytes) -> decimal.Decimal:
    if data.lower().lstrip(b"+-") in (b"inf", b"infinity"):
        raise Refused("ERR increment would produce NaN or Infinity")
    if len(data) > LONGEST_FLOAT or not _FLOAT.fullmatch(data):
        raise Refused(NOT_A_FLOAT)
    number = decimal.Decimal(data.decode())
    if abs(number) > _LARGEST_FLOAT:
        raise Refused(NOT_A_FLOAT)
    return number


# -- two keys -------------------------------------------------------------------------------------------------------


def rename(call: Call) -> Plan:
    """``RENAME key newkey`` and ``RENAMENX key newkey``."""
    source, target = call.place(call.words[1]), call.place(call.words[2])
    only_new = call.name == "renamenx"

    def apply(view: View) -> bytes:
        value, expiry = view.value(source), view.expiry(source)
        if value is None:
            raise Refused(NO_SUCH_KEY)
        if only_new and view.there(target):
            return replies.integer(0)
        if source != target:
            view.delete(source)
            view.put(target, value, expiry)
        return replies.integer(1) if only_new else replies.OK

    return Plan(apply, (source, target))


def copy(call: Call) -> Plan:
    """``COPY source destination [DB number] [REPLACE]``."""
    replace, database = False, call.database
    rest = iter(call.words[3:])
    for option in map(bytes.lower, rest):
        if option == b"replace":
            replace = True
        elif option == b"db" and (number := next(rest, None)) is not None:
            database = parse_database(number, call.databases.count)
        else:
            raise Refused(SYNTAX)
    return _transfer(call, call.place(call.words[2], database), replace=replace, keep=True)


def move(call: Call) -> Plan:
    """``MOVE key db``."""
    target = call.place(call.words[1], parse_database(call.words[2], call.databases.count))
    return _transfer(call, target, replace=False, keep=False)


def _transfer(call: Call, target: Place, *, replace: bool, keep: bool) -> Plan:
    source = call.place(call.words[1])
    if source == target:
        raise Refused("ERR source and destination objects are the same")

    def apply(view: View) -> bytes:
        value, expiry = view.value(source), view.expiry(source)
        if value is None or (view.there(target) and not replace):
            return replies.integer(0)
        view.put(target, value, expiry)
        if not keep:
            view.delete(source)
        return replies.integer(1)

    return Plan(apply, (source, target))
