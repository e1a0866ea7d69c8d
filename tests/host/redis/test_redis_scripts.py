"""Scripts: compared with a real Redis server, byte for byte; and what they show, and what they leave if they fail."""

import asyncio
import hashlib
import re

import pytest
from redis.lock import Lock

from host.redis.connection import Connection
from omap.operations import Kind
from tests.support.redis.scripts import proxy, script_answers
from tests.support.redis.support import PARAMS, ask, command

LONG = "a key of more than sixteen bytes"


def where_left_out(reply):
    """Without the line of the script, which the proxy does not know of a call that stands behind ``return``."""
    return re.sub(rb" script: [0-9a-f]{40}, on @user_script:\d+\.", b"", reply)


# -- as in Redis ------------------------------------------------------------------------------------------------------

SAME = [
    # values of Lua to replies
    "return 1",
    "return 3.99",
    "return -3.99",
    "return 1e300",
    "return 0/0",
    "return 'text'",
    "return ''",
    "return true",
    "return false",
    "return nil",
    "return",
    "",
    "return {}",
    "return {1, 2, nil, 4}",
    "return {1, {2, 'x', {}}, false, true}",
    "return {first = 1}",
    "return {ok = 'fine'}",
    "return {ok = 'a\\r\\nb'}",
    "return {err = 'MY problem'}",
    "return {err = 'a\\r\\nb'}",
    "return {double = 3.5}",
    "return redis.status_reply('fine')",
    "return redis.error_reply('MY problem')",
    "return redis.error_reply('-MY problem')",
    "return redis.error_reply()",
    "return print == nil",
    "return function() end",
    "return math.floor(2.5), 3",
    # replies to values of Lua
    "return redis.call('incrby', KEYS[1], 5) + 1",
    "return redis.call('get', KEYS[1]) == false",
    "return type(redis.call('get', KEYS[2]))",
    "return redis.call('set', KEYS[1], 'x').ok",
    "return redis.call('mget', KEYS[1], KEYS[2])",
    "return type(redis.call('mget', KEYS[1], KEYS[2])[1])",
    "return redis.call('type', KEYS[2])",
    "return redis.call('ping')",
    "return redis.call('echo', 'again')",
    "return redis.call('echo', 0.1)",
    "return redis.call('echo', 12)",
    "return redis.call('echo', 1e15)",
    "return #redis.call('time')",
    "redis.call('set', KEYS[1], 'a\\0b\\r\\n') return redis.call('get', KEYS[1])",
    "return {redis.call('set', KEYS[1], 1, 'nx'), redis.call('set', KEYS[1], 1, 'nx')}",
    "return redis.call('SET', KEYS[2], 3, 'GET')",
    # what a script is given
    "return {#KEYS, KEYS[1], KEYS[2], #ARGV, ARGV[1]}",
    "return KEYS[3] == nil",
    "KEYS[1] = 'x' return KEYS",
    "return {redis.sha1hex('x'), redis.sha1hex(''), redis.sha1hex(12)}",
    "return redis.sha1hex()",
    "return redis.log(redis.LOG_WARNING, 'x')",
    "return redis.replicate_commands()",
    "return redis.setresp(2)",
    "return redis.setresp(4)",
    "math.randomseed(5) return {tostring(math.random()), math.random(10), math.random(3, 7)}",
    "math.randomseed(-1) return tostring(math.random())",
    "return {('x'):rep(3), table.concat({1, 2}, '-'), tostring(0.1), tonumber('0x10'), #'abc'}",
    "return {type(_G), _VERSION, select('#', 1, 2), unpack({1, 2})}",
    # errors
    "if",
    "return return",
    "\x1bLua",
    "return nothing",
    "something = 1",
    "KEYS = 1",
    "error('x')",
    "error('x', 0)",
    "error('x', 2)",
    "error({err = 'MY problem'})",
    "error(12)",
    "error()",
    "error('a\\nb')",
    "local function f() error('deep') end\nf()",
    "return 1 + {}",
    "return nil .. 'x'",
    "redis.call('set', KEYS[1], 'x') redis.call('incr', KEYS[1])",
    "return redis.pcall('incr', KEYS[2])",
    "return redis.pcall('incr', KEYS[2]).err",
    "return {pcall(redis.call, 'incr', KEYS[2])}",
    "return {pcall(error, {err = 'MY problem'})}",
    "return {pcall(error, 'text')}",
    "return {pcall(function() error('text') end)}",
    "return {xpcall(function() error('x') end, function(problem) return 'so: ' .. tostring(problem) end)}",
    "return redis.pcall()",
    "return redis.call()",
    "return redis.pcall({})",
    "return redis.call('get', true)",
    "return redis.pcall('get')",
    "return redis.call('set', KEYS[1])",
    "return redis.pcall('set', KEYS[1], 1, 'nonsense')",
    "return redis.pcall('expire', KEYS[1], 'x')",
    "return math.random(0) or 1",
    "local x = math.random(5, 1)",
    "#!lua\nreturn 5",
    "#!lua\nerror('in the second line')",
    "#!lua flags=no-writes\nreturn redis.call('get', KEYS[2])",
    "#!lua flags=no-writes\nreturn redis.call('set', KEYS[2], 1)",
    "#!lux\nreturn 5",
    "#!lua flags=wrong\nreturn 5",
    # libraries
    "return {cjson.encode({1, 2, {a = 'x/y'}}), cjson.encode({}), cjson.encode({1, nil, 3})}",
    "return cjson.encode('\"\\\\\\n\\127é')",
    "return {cjson.encode({a = cjson.null}), cjson.encode(1/3), cjson.encode(1e16), cjson.encode({[2] = true})}",
    "return {cjson.encode({[1.5] = 1}), cjson.encode(true), type(cjson.null), cjson.encode(-12)}",
    'return cjson.decode(\'[1, 2.5, {"x": ["y", true, false]}, "\\\\u00e9"]\')[3].x',
    "local read = cjson.decode('[null, 1.5, \"\\\\u00e9/\", {}]') return {read[1] == cjson.null, read[2] * 2, read[3]}",
    'return cjson.encode(cjson.decode(\'{"a": [1, {"b": null}]}\'))',
    "local text = cjson.encode(function() end)",
    "local text = cjson.encode({[100] = 1})",
    "local text = cjson.encode(1/0)",
    "local text = cjson.encode({[true] = 1})",
    "local t = {} t[1] = t local text = cjson.encode(t)",
    "return {bit.band(255, 7, 3), bit.bor(1, 8), bit.bxor(5, 1), bit.bnot(0), bit.lshift(1, 31), bit.rshift(-1, 28)}",
    "return {bit.arshift(-8, 1), bit.rol(0x12345678, 12), bit.ror(0x12345678, 12), bit.bswap(1), bit.tobit(2^32 + 5)}",
    "return {bit.tohex(255), bit.tohex(255, -4), bit.tohex(-1, 2), bit.lshift(1, 33), bit.tobit(2.5), bit.tobit(3.5)}",
    "return bit.band(1, {}) or 0",
    # times
    "redis.call('set', KEYS[1], 1, 'px', 60000) return redis.call('pttl', KEYS[1])",
    "return {redis.call('pttl', KEYS[1]), redis.call('pttl', KEYS[2]), redis.call('expire', KEYS[2], 100)}",
    "redis.call('rename', KEYS[2], KEYS[1]) return {redis.call('exists', KEYS[2]), redis.call('get', KEYS[1])}",
]


@pytest.mark.parametrize("version", [2, 3])
def test_scripts_do_what_they_do_in_redis(real_redis, version):
    """Also what they leave behind, if they end well: a script that fails leaves nothing here."""
    setup = command("flushall") + command("set", LONG, "five")
    look = command("mget", "k", LONG)
    greeting = command("hello", 3) if version == 3 else b""

    async def main():
        async with proxy() as one:
            await one.ask(greeting)
            for text in SAME:
                run = command("eval", text, 2, "k", LONG, "v")
                real_redis.ask(setup)
                expected = real_redis.ask(greeting + run)
                expected = expected[expected.index(b"modules\r\n*0\r\n") + 13 :] if greeting else expected
                await one.ask(setup)
                before = await one.ask(look)
                found = await one.ask(run)
                assert real_redis.agrees(where_left_out(expected), where_left_out(found)), (text, expected, found)
                after = await one.ask(look)
                left = before if found.startswith(b"-") else real_redis.ask(greeting + look)
                assert left.endswith(after), (text, left, after)

    asyncio.run(main())


@pytest.mark.parametrize("name", ["cmsgpack", "collectgarbage", "coroutine", "load", "loadstring", "struct"])
def test_what_scripts_have_in_redis_alone_is_told(real_redis, name):
    """A library whose scripts want it learns where to read what works."""
    run = command("eval", f"return type({name})", 0)
    assert real_redis.ask(run) in (b"$5\r\ntable\r\n", b"$8\r\nfunction\r\n")
    (found,) = script_answers(run)
    assert found.startswith(b"-ERR ")
    assert f"do not have '{name}'; docs/use/redis.md says".encode() in found


SLIDING_WINDOW = """
local limit, expiry, amount = tonumber(ARGV[1]), tonumber(ARGV[2]) * 1000, tonumber(ARGV[3])
local left = redis.call('pttl', KEYS[2])
if left > 0 and left < expiry then
    redis.call('rename', KEYS[2], KEYS[1])
    redis.call('set', KEYS[2], 0, 'PX', left + expiry)
end
local before = tonumber(redis.call('get', KEYS[1])) or 0
local share = math.max(0, redis.call('pttl', KEYS[1])) / expiry
local now = tonumber(redis.call('get', KEYS[2])) or 0
if math.floor(before * share) + now + amount > limit then return false end
if redis.call('exists', KEYS[2]) == 1 then
    redis.call('incrby', KEYS[2], amount)
else
    redis.call('set', KEYS[2], amount, 'PX', expiry * 2)
end
return true
"""
COUNTER = """
redis.call('set', KEYS[1], 0, 'EX', ARGV[2], 'NX')
local used = redis.call('incrby', KEYS[1], ARGV[1])
local left = redis.call('pttl', KEYS[1])
if left == -1 then redis.call('expire', KEYS[1], ARGV[2]) left = 1000 * ARGV[2] end
return {used, left > 0}
"""
LOADED = "return {KEYS[1] or 'no key', ARGV[1] or 'no argument'}"
NAME = hashlib.sha1(LOADED.encode()).hexdigest()


def test_scripts_of_libraries(real_redis):
    """The locks of redis-py, and limits of rates such as those of `limits` and rate-limiter-flexible."""
    locks = [Lock.LUA_EXTEND_SCRIPT, Lock.LUA_REACQUIRE_SCRIPT, Lock.LUA_RELEASE_SCRIPT]
    stream = [["set", "lock", "token", "nx", "px", 90000]]
    for text in locks:
        values = {0: ["token", "100000", "0"], 1: ["token", "80000"], 2: ["token"]}[locks.index(text)]
        stream += [["eval", text, 1, "lock", "other", *values[1:]], ["eval", text, 1, "lock", *values]]
        stream += [["exists", "lock"], ["eval", text, 1, "no lock", *values]]
    stream += [["eval", SLIDING_WINDOW, 2, "window/-1", "window", 3, 60, 1]] * 5 + [["get", "window"]]
    stream += [["eval", COUNTER, 1, "user", amount, 60] for amount in (1, 2, -2)] + [["get", "user"]]
    request = b"".join(command(*words) for words in stream)
    real_redis.ask(command("flushall"))
    assert script_answers(request) == [real_redis.ask(request)]


def test_scripts_by_their_name(real_redis):
    stream = [
        ["evalsha", NAME, 0],
        ["script", "load", LOADED],
        ["evalsha", NAME, 1, "a"],
        ["evalsha", NAME.upper(), 0, "b"],
        ["eval_ro", LOADED, 1, "a", "b"],
        ["evalsha_ro", NAME, 1, "a", "b"],
        ["script", "exists", NAME, "x", NAME.upper()],
        ["script", "load", "no Lua"],
        ["script", "exists", hashlib.sha1(b"no Lua").hexdigest()],
        ["eval", "neither this", 0],
        ["evalsha", hashlib.sha1(b"neither this").hexdigest(), 0],
        ["script", "flush", "now"],
        ["script", "flush", "sync"],
        ["evalsha", NAME, 0],
        ["evalsha", "x", 0],
        ["script", "nonsense"],
        ["script", "load"],
        ["script", "flush"],
        ["eval", "return 1", "x"],
        ["eval", "return 1", -1],
        ["eval", "return 1", 2, "a"],
        ["eval", "return 1"],
        ["eval_ro", "return redis.pcall('set', KEYS[1], 1)", 1, "a"],
        ["multi"],
        ["script", "load", LOADED],
        ["evalsha", NAME, 1, "in a transaction"],
        ["set", "n", 1],
        ["eval", "return redis.call('incr', KEYS[1])", 1, "n"],
        ["incr", "n"],
        ["eval", "return redis.pcall('incrby', KEYS[1], 'x')", 1, "n"],
        ["exec"],
    ]
    real_redis.ask(command("script", "flush") + command("flushall"))
    request = b"".join(command(*words) for words in stream)
    expected, found = real_redis.ask(request), b"".join(script_answers(*(command(*words) for words in stream)))
    assert real_redis.agrees(where_left_out(expected), where_left_out(found)), (expected, found)
    assert script_answers(command("script", "help"))[0].startswith(b"*2\r\n")


def test_a_script_sees_the_time_stand_still():
    text = "local first = redis.call('time') for _ = 1, 1e5 do end local second = redis.call('time') "
    text += "return first[1] == second[1] and first[2] == second[2]"
    assert script_answers(command("eval", text, 0)) == [b":1\r\n"]


def test_numbers_by_chance_are_the_same_in_every_run():
    text = "return {tostring(math.random()), tostring(math.random())}"
    first, second = script_answers(command("eval", text, 0), command("eval", text, 0))
    assert first == second == b"*2\r\n$16\r\n0.17082803611217\r\n$16\r\n0.74990198051087\r\n"


# -- all or nothing ---------------------------------------------------------------------------------------------------

STATES = {
    "nothing": [],
    "a number": ["mset", "k", 5, LONG, 5],
    "no number": ["mset", "k", "five", LONG, "five"],
    "as long as it can be": ["mset", "k", "v" * (PARAMS.value_bytes - 2), LONG, "v" * 140],
}
FAIL = {
    "fails after a write": "redis.call('set', KEYS[1], 'new') error('no')",
    "fails of a command": "redis.call('set', KEYS[1], 'new') redis.call('incr', KEYS[1])",
    "names another key": "redis.call('set', KEYS[1], 'new') redis.call('set', 'other', 1)",
    "names another key, and catches": "redis.call('set', KEYS[1], 'new') pcall(redis.call, 'get', 'other')",
    "names another database": "redis.call('set', KEYS[1], 'new') redis.pcall('copy', KEYS[1], KEYS[2], 'DB', 1)",
    "names a list": "redis.call('set', KEYS[1], 'new') pcall(redis.call, 'lpush', KEYS[2], 1)",
    "names what counts keys": "redis.call('set', KEYS[1], 'new') redis.pcall('dbsize')",
    "names what empties": "redis.call('set', KEYS[1], 'new') redis.pcall('flushdb')",
    "names a script": "redis.call('set', KEYS[1], 'new') redis.pcall('eval', 'return 1', 0)",
    "names a transaction": "redis.call('set', KEYS[1], 'new') redis.pcall('multi')",
    "names nonsense": "redis.call('set', KEYS[1], 'new') redis.pcall('nonsense')",
    "too many steps": "redis.call('set', KEYS[1], 'new') while true do end",
    "too much memory": "redis.call('set', KEYS[1], 'new') local s = 'x' while true do s = s .. s end",
    "no Lua": "redis.call('set', KEYS[1], 'new') no",
    "a reply without end": "redis.call('set', KEYS[1], 'new') local t = {} t[1] = t return t",
    "a value that does not fit": f"redis.call('set', KEYS[1], string.rep('x', {PARAMS.value_bytes}))",
}
DO = {
    "no call": "return 1",
    "a read": "return redis.call('get', KEYS[1])",
    "a branch": "if redis.call('get', KEYS[1]) then redis.call('set', KEYS[2], ARGV[1]) end",
    "the other branch": "if not redis.call('get', KEYS[1]) then redis.call('set', KEYS[2], ARGV[1]) end",
    "as often as there are bytes": "for _ = 1, redis.call('strlen', KEYS[1]) do redis.call('set', KEYS[2], 1) end",
    "deletions": "return redis.call('del', KEYS[1], KEYS[2])",
    "an error that is caught": "redis.call('set', KEYS[2], 1) return redis.pcall('incr', KEYS[1])",
}


@pytest.mark.sec_cm("REDIS.OPS.FIXED")
@pytest.mark.parametrize("name", DO | FAIL)
def test_a_script_takes_two_operations_for_each_of_its_keys(name):
    """Whatever is found, and whatever it does with it."""

    async def main():
        async with proxy() as one:
            seen = {}
            for state, fill in STATES.items():
                await one.ask(command("flushall"), command(*fill) if fill else b"")
                before = len(one.batches)
                await one.run((DO | FAIL)[name], "k", LONG, values=["v"])
                seen[state] = [len(batch) for batch in one.batches[before:]]
                assert {operation.kind for operation in one.batches[before]} == {Kind.GET}
            assert all(sizes == [2, 2] for sizes in seen.values()), seen

    asyncio.run(main())


@pytest.mark.parametrize("name", FAIL)
def test_a_script_that_fails_changes_nothing(name):
    async def main():
        async with proxy() as one:
            await one.ask(command("set", "k", "old"), command("set", "other", "value"))
            answer = await one.run(FAIL[name], "k", LONG)
            assert answer.startswith(b"-ERR "), answer
            if name.startswith("names"):
                assert b"docs/use/redis.md" in answer
            found = await one.ask(command("mget", "k", LONG, "other"), command("exists", "other"))
            assert found == b"*3\r\n$3\r\nold\r\n$-1\r\n$5\r\nvalue\r\n:1\r\n"
            assert await one.run("return redis.call('get', KEYS[1])", "k") == b"$3\r\nold\r\n"

    asyncio.run(main())


def test_a_command_that_fails_and_is_caught_changes_nothing_and_the_others_count():
    text = "redis.call('set', KEYS[1], 'x') redis.pcall('mset', KEYS[1], 'y', KEYS[2], string.rep('x', 999)) "
    found = script_answers(command("eval", text, 2, "a", "b"), command("mget", "a", "b"))
    assert found == [b"$-1\r\n", b"*2\r\n$1\r\nx\r\n$-1\r\n"]


def test_a_full_map_is_told_and_nothing_is_changed():
    fill = b"".join(command("set", n, n) for n in range(PARAMS.capacity))
    text = "redis.call('set', KEYS[1], 'new') redis.call('set', KEYS[2], 'new') return 'fine'"
    found = script_answers(fill, command("eval", text, 2, 0, "more"), command("mget", 0, "more"))
    assert found[1].startswith(b"-OOM command not allowed")
    assert found[2] == b"*2\r\n$1\r\n0\r\n$-1\r\n"
    exchange = "redis.call('del', KEYS[1]) return redis.call('set', KEYS[2], 'new')"
    assert script_answers(fill, command("eval", exchange, 2, 0, "more"))[1] == b"+OK\r\n"


def test_a_watched_key_that_a_script_writes_is_noticed():
    async def main():
        async with proxy() as one:
            other = Connection(one.common)
            await one.ask(command("watch", "k"), command("multi"), command("set", "k", 1))
            await ask(other, command("eval", "return redis.call('incr', KEYS[1])", 1, "k"))
            return await one.ask(command("exec"), command("get", "k"))

    assert asyncio.run(main()) == b"*-1\r\n$1\r\n1\r\n"
