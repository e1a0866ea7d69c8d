"""redis-py and its fork valkey-py, in what most applications use of them."""

import asyncio
import time

import redis
import redis.asyncio
import valkey

from tests.support.redis.steps import failure


def redis_py(step, client_of=redis.Redis):
    r = client_of(host=step.host, port=step.port, decode_responses=True)

    @step("strings: `set`, `get`, `mset`, `mget`, `getdel`, `append`, `strlen`, `exists`, `delete`, `unlink`, `type`")
    def _():
        first = [r.set("a", 1), r.get("a"), r.mset({"b": "two", "c": "x" * 900}), r.mget("a", "b", "c", "d")]
        more = [r.append("b", "!"), r.strlen("b"), r.exists("a", "b", "d"), r.type("a"), r.type("d"), r.touch("a")]
        return first + more + [r.getdel("a"), r.get("a"), r.delete("b", "d"), r.unlink("c", "d"), r.setnx("b", 1)]

    @step("more of strings: `getset`, `msetnx`, `getrange`, `setrange`, `rename`, `renamenx`, `copy`, `set(get=True)`")
    def _():
        first = [r.getset("g", "hello"), r.getset("g", "world"), r.msetnx({"g": 1, "h": 2}), r.msetnx({"i": 1, "j": 2})]
        then = [r.getrange("g", 1, -2), r.setrange("g", 7, "!"), r.get("g"), r.rename("g", "k"), r.renamenx("k", "i")]
        last = [r.copy("k", "l"), r.copy("k", "l"), r.copy("k", "l", replace=True), r.get("l"), r.set("l", 1, get=True)]
        return first + then + last + [failure(r.rename, "nothing", "x"), r.move("l", 1), r.exists("l", "k")]

    @step("points in time: `expireat`, `pexpireat`, `expiretime`, `expire(nx=, gt=)`, `getex(persist=)`, `set(exat=)`")
    def _():
        soon = int(time.time()) + 500
        first = [r.set("t", "v"), r.expireat("t", soon), r.expiretime("t") == soon, r.pexpireat("t", soon * 1000 + 7)]
        then = [r.pexpiretime("t") == soon * 1000 + 7, r.expire("t", 9, nx=True), r.expire("t", 900, gt=True)]
        last = [r.getex("t", persist=True), r.ttl("t"), r.set("t", "w", exat=soon), 400 < r.ttl("t") <= 500]
        return first + then + last + [r.expire("t", -1), r.exists("t"), failure(r.set, "t", "x", ex=0)]

    @step("counters: `incr`, `decrby`, `incrbyfloat`")
    def _():
        return [r.incr("n"), r.incr("n", 41), r.decrby("n", 2), r.incrbyfloat("n", 0.5), failure(r.incr, "n")]

    @step("times: `set(ex=, px=, nx=, keepttl=)`, `setex`, `expire`, `ttl`, `pttl`, `persist`, `getex`")
    def _():
        first = [r.set("t", "v", ex=50), 40 < r.ttl("t") <= 50, r.set("t", "w", nx=True), r.set("t", "w", keepttl=True)]
        then = [
            r.pttl("t") > 40000,
            r.persist("t"),
            r.ttl("t"),
            r.expire("t", 70),
            r.getex("t", ex=90),
            r.ttl("t") > 70,
        ]
        short = [r.set("s", 1, px=30), r.psetex("s2", 30, 1), r.setex("s3", 20, "x"), r.ttl("nothing")]
        time.sleep(0.08)
        return first + then + short + [r.get("s"), r.exists("s2"), r.get("s3"), r.set("s", 2, nx=True)]

    @step("pipelines, transactions by default")
    def _():
        pipe = r.pipeline().set("p", 1).incr("p").get("p").expire("p", 100)
        first = [pipe.execute(), r.pipeline(transaction=False).get("p").delete("p").execute()]
        r.set("text", "no number")
        pipe = r.pipeline().set("q", 1).incr("text").set("q2", 2)
        return first + [failure(pipe.execute), r.mget("q", "q2")]

    @step("`transaction`, `watch`")
    def _():
        def increase(pipe):
            value = int(pipe.get("w") or 0)
            pipe.multi()
            pipe.set("w", value + 1)

        def disturbed():
            with r.pipeline() as pipe:
                pipe.watch("w")
                r.set("w", 10)
                pipe.multi()
                pipe.set("w", 11)
                pipe.execute()

        return [r.transaction(increase, "w"), r.get("w"), failure(disturbed), r.get("w")]

    @step("locks: `lock()`, with a timeout, `extend`, `reacquire`, of another owner")
    def _():
        with r.lock("lock"):
            held = [r.exists("lock"), r.lock("lock").acquire(blocking=False)]
        first, second = r.lock("lock2", timeout=20), r.lock("lock2", timeout=20)
        got = [first.acquire(), second.acquire(blocking_timeout=0.1), first.locked(), first.owned(), first.extend(20)]
        got += [r.ttl("lock2") > 20, first.reacquire(), r.ttl("lock2") <= 20]
        second.local.token = b"another"
        return held + [r.exists("lock")] + got + [failure(second.release), first.release(), r.exists("lock2")]

    @step("another database: `db=3`")
    def _():
        other = client_of.from_url(step.url(3), decode_responses=True)
        return [other.set("only here", 1), r.get("only here"), other.get("only here"), other.dbsize(), other.flushdb()]

    @step("RESP3: `protocol=3`")
    def _():
        three = client_of(host=step.host, port=step.port, protocol=3)
        return [three.set("r", "3"), three.get("r").decode(), three.get("none"), three.pipeline().incr("r").execute()]

    @step("scripts: `register_script`, `eval`")
    def _():
        script = r.register_script("redis.call('SET', KEYS[1], ARGV[1]); return redis.call('GET', KEYS[1])")
        return [script(keys=["e"], args=["by script"]), script(keys=["e"], args=[2]), r.eval("return {1, 'a'}", 0)]

    @step("servers: `ping`, `info`, `config_get`, `client_setname`, `client_list`, `time`, `role`, `dbsize`, `flushdb`")
    def _():
        more = [r.echo("x"), len(r.client_list()) > 0, r.role()[0], r.wait(0, 10), r.client_id() > 0]
        more += [
            "used_memory" in r.info("memory"),
            r.info("keyspace")["db0"]["keys"] == r.dbsize(),
            r.command_count() > 0,
        ]
        first = [r.ping(), r.info()["redis_version"][:2], r.client_setname("me"), r.client_getname(), len(r.time())]
        return more + first + [r.config_get("maxmemory"), r.dbsize() > 0, r.flushdb(), r.dbsize(), r.flushall()]

    step("lists: `lpush`")(lambda: [r.lpush("list", 1), r.lrange("list", 0, 9)])
    step("hashes: `hset`")(lambda: [r.hset("hash", "field", 1), r.hgetall("hash")])
    step("sets: `sadd`")(lambda: r.sadd("set", 1))
    step("sorted sets: `zadd`")(lambda: r.zadd("sorted", {"a": 1}))
    step("`scan_iter`")(lambda: list(r.scan_iter("lis*")))
    step("`publish`")(lambda: r.publish("channel", "message"))

    @step("`pubsub`")
    def _():
        with r.pubsub() as pubsub:
            pubsub.subscribe("channel")
            return pubsub.get_message(timeout=5)["type"]

    @step("a hash in a transaction", look=lambda: r.mget("before", "after"))
    def _():
        return r.pipeline().set("before", 1).hset("hash", "other", 1).set("after", 1).execute()


def redis_py_asyncio(step):
    async def all_of_it(call):
        client = redis.asyncio.Redis(host=step.host, port=step.port, decode_responses=True)
        try:
            return await call(client)
        finally:
            await client.aclose()

    def asynchronous(name):
        return lambda call: step(name)(lambda: asyncio.run(all_of_it(call)))

    @asynchronous("`set`, `get`, `mget`, times, counters")
    async def _(r):
        first = [await r.set("a", 1, ex=60), await r.get("a"), await r.mget("a", "b"), 0 < await r.ttl("a") <= 60]
        return first + [await r.incr("n"), await r.delete("a", "n")]

    @asynchronous("many at once")
    async def _(r):
        await asyncio.gather(*(r.incr("many") for _ in range(40)))
        return await r.get("many")

    @asynchronous("pipelines, transactions by default")
    async def _(r):
        async with r.pipeline() as pipe:
            return await pipe.set("p", 1).incr("p").get("p").execute()

    @asynchronous("`watch`")
    async def _(r):
        async with r.pipeline() as pipe:
            await pipe.watch("w")
            now = await pipe.get("w")
            pipe.multi()
            return [now, await pipe.set("w", 1).execute()]

    @asynchronous("locks")
    async def _(r):
        async with r.lock("lock", timeout=20) as lock:
            inside = [await lock.locked(), await r.lock("lock").acquire(blocking=False)]
        return inside + [await r.exists("lock")]


def valkey_py(step):
    redis_py(step, valkey.Valkey)
