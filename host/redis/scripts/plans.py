"""EVAL, EVALSHA and SCRIPT, and the plan of each."""

from __future__ import annotations

from host.redis import replies
from host.redis.calls import Call, parse_integer
from host.redis.places import Refused
from host.redis.plans import Plan
from host.redis.scripts.cache import Script
from host.redis.view import View


def evaluate(call: Call) -> Plan:
    """``EVAL script numkeys key ... argument ...`` and ``EVAL_RO``."""
    call.scripts.check_installed()
    return _plan(call, call.scripts.cache.add(call.words[1]))


def evaluate_known(call: Call) -> Plan:
    """``EVALSHA sha1 numkeys key ... argument ...`` and ``EVALSHA_RO``."""
    known = call.scripts.cache.get(call.words[1])
    if known is None:
        raise Refused("NOSCRIPT No matching script. Please use EVAL.")
    return _plan(call, known)


def _plan(call: Call, script: Script) -> Plan:
    count = parse_integer(call.words[2])
    if count > len(call.words) - 3:
        raise Refused("ERR Number of keys can't be greater than number of args")
    if count < 0:
        raise Refused("ERR Number of keys can't be negative")
    # SEC_CM: REDIS.SCRIPT.BOUNDED -- the keys of one script are few
    if count > call.scripts.keys:
        raise Refused(
            f"ERR a script of this proxy names at most {call.scripts.keys} keys: see omap proxy --script-keys"
        )
    # SEC_CM: REDIS.OPS.FIXED -- all keys are read before a script runs, and written or not after it
    script.opened()
    places = [call.place(name) for name in call.words[3 : 3 + count]]

    async def apply(view: View) -> bytes:
        return await call.scripts.run(call, script, view, places)

    return Plan(apply, places)


def script(call: Call) -> Plan:
    """``SCRIPT LOAD script``, ``EXISTS sha1 ...``, ``FLUSH [ASYNC | SYNC]`` and ``HELP``: no map operation."""
    cache, rest = call.scripts.cache, call.words[2:]
    match call.words[1].lower():
        case b"load":
            call.scripts.check_installed()
            loaded = cache.add(rest[0])  # before it is compiled, so that EVALSHA may follow at once

            async def load(view: View) -> bytes:
                await call.scripts.check(loaded)
                return call.form.bulk(loaded.name)

            return Plan(load, ())
        case b"exists":
            reply = call.form.value([int(cache.get(name) is not None) for name in rest])
        case b"flush":
            if len(rest) > 1 or (rest and rest[0].lower() not in (b"async", b"sync")):
                raise Refused("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
            cache.clear()
            reply = replies.OK
        case _:
            reply = call.form.value(["SCRIPT <subcommand> [<arg> ...]. Subcommands are:", "EXISTS, FLUSH, HELP, LOAD"])
    return Plan(lambda view: reply, ())
