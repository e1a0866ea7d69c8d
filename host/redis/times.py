"""Commands about expiry. The time stands in the cell of the value, so it takes no operation of its own."""

from __future__ import annotations

from host.redis import replies
from host.redis.calls import ABSOLUTE, RELATIVE, SYNTAX, Call
from host.redis.places import Refused
from host.redis.plans import Plan
from host.redis.view import View
from omap.operations import Kind

_CONDITIONS = (b"nx", b"xx", b"gt", b"lt")


def expire(call: Call) -> Plan:
    """``EXPIRE``, ``PEXPIRE``, ``EXPIREAT``, ``PEXPIREAT``: ``key time [NX | XX | GT | LT]``."""
    unit, absolute = 1 if call.name.startswith("p") else 1000, call.name.endswith("at")
    wanted = {option.lower() for option in call.words[3:]}
    for option in call.words[3:]:
        if option.lower() not in _CONDITIONS:
            raise Refused(f"ERR Unsupported option {option.decode('utf-8', 'surrogateescape')}")
    if b"nx" in wanted and len(wanted) > 1:
        raise Refused("ERR NX and XX, GT or LT options at the same time are not compatible")
    if {b"gt", b"lt"} <= wanted:
        raise Refused("ERR GT and LT options at the same time are not compatible")
    when = call.parse_expiry(call.words[2], unit, absolute=absolute)
    place = call.place(call.words[1])

    def apply(view: View) -> bytes:
        value, before = view.value(place), view.expiry(place)
        if (
            value is None
            or (b"nx" in wanted and before is not None)
            or (b"xx" in wanted and before is None)
            or (b"gt" in wanted and (before is None or when <= before))
            or (b"lt" in wanted and before is not None and when >= before)
        ):
            return replies.integer(0)
        if when <= view.now:
            view.delete(place)
        else:
            view.put(place, value, when)
        return replies.integer(1)

    return Plan(apply, (place,))


def persist(call: Call) -> Plan:
    """``PERSIST key``."""
    place = call.place(call.words[1])

    def apply(view: View) -> bytes:
        value = view.value(place)
        if value is None or view.expiry(place) is None:
            return replies.integer(0)
        view.put(place, value)
        return replies.integer(1)

    return Plan(apply, (place,))


def getex(call: Call) -> Plan:
    """``GETEX key [EX | PX | EXAT | PXAT time | PERSIST]``: one pass without options."""
    place, options = call.place(call.words[1]), call.words[2:]
    option = options[0].lower() if options else b""
    if not options:
        return Plan(lambda view: call.form.bulk(view.value(place)), (place,), Kind.GET)
    when = None
    if len(options) == 2 and option in RELATIVE | ABSOLUTE:
        unit = (RELATIVE | ABSOLUTE)[option]
        when = call.parse_expiry(options[1], unit, absolute=option in ABSOLUTE, positive=True)
    elif any(option.lower() != b"persist" for option in options):
        raise Refused(SYNTAX)

    def apply(view: View) -> bytes:
        value = view.value(place)
        if value is not None and when is not None and when <= view.now:
            view.delete(place)
        elif value is not None and (when is not None or view.expiry(place) is not None):
            view.put(place, value, when)
        return call.form.bulk(value)

    return Plan(apply, (place,))


def ttl(call: Call) -> Plan:
    """``TTL``, ``PTTL``, ``EXPIRETIME``, ``PEXPIRETIME``: ``key``; -2 for no key, -1 for no expiry."""
    place = call.place(call.words[1])
    unit, left = 1 if call.name.startswith("p") else 1000, call.name.endswith("ttl")

    def apply(view: View) -> bytes:
        if view.value(place) is None:
            return replies.integer(-2)
        expiry = view.expiry(place)
        if expiry is None:
            return replies.integer(-1)
        time = max(0, expiry - view.now) if left else expiry
        return replies.integer((time + unit // 2) // unit)

    return Plan(apply, (place,), Kind.GET)
