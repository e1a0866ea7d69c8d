"""Libraries that cache: cachelib, dogpile.cache, and limits, which counts."""

import time

import limits
from cachelib.redis import RedisCache
from dogpile.cache import make_region


def cachelib(step):
    cache = RedisCache(step.host, step.port, key_prefix="site_")

    @step("`set`, `get`, `add`, `has`, `delete`")
    def _():
        first = [cache.set("a", {"x": [1, 2]}), cache.get("a"), cache.add("a", 1), cache.add("b", 2), cache.has("a")]
        return first + [cache.delete("a"), cache.get("a"), cache.set("never", 1, timeout=0), cache.get("never")]

    @step("`set_many`, `get_many`, `get_dict`, `delete_many`")
    def _():
        first = [sorted(cache.set_many({"m": 1, "n": "two"})), cache.get_many("m", "n", "o"), cache.get_dict("m", "o")]
        return first + [sorted(cache.delete_many("m", "o"))]

    @step("`inc`, `dec`")
    def _():
        return [cache.inc("count"), cache.inc("count", 5), cache.dec("count", 2), cache.get("count")]

    @step("timeouts")
    def _():
        cache.set("short", 1, timeout=1)
        time.sleep(1.1)
        return cache.get("short")

    @step("`clear()` without a prefix")
    def _():
        whole = RedisCache(step.host, step.port)
        return [whole.set("mine", 1), whole.clear(), whole.get("mine"), cache.get("b")]

    cache.set("kept", 1)
    step("`clear()` with a prefix", look=lambda: cache.get("kept"))(cache.clear)


def dogpile(step):
    arguments = {"host": step.host, "port": step.port, "redis_expiration_time": 300, "distributed_lock": True}
    arguments["thread_local_lock"] = False  # as the library asks for with a lock among processes
    region = make_region().configure("dogpile.cache.redis", expiration_time=60, arguments=arguments)
    plain = make_region().configure("dogpile.cache.redis", arguments={"url": step.url()})

    @step("`set`, `get`, `delete`")
    def _():
        region.set("a", {"x": 1})
        first = [region.get("a"), str(region.get("nothing")), region.delete("a"), str(region.get("a"))]
        plain.set("b", "without a time")
        return first + [plain.get("b")]

    @step("`set_multi`, `get_multi`, `delete_multi`")
    def _():
        region.set_multi({"m": 1, "n": 2})
        plain.set_multi({"o": 3})
        first = [region.get_multi(["m", "n"]), plain.get_multi(["o"])]
        return first + [region.delete_multi(["m", "n"]), [str(value) for value in region.get_multi(["m", "n"])]]

    @step("`cache_on_arguments` with the lock among processes")
    def _():
        calls = []

        @region.cache_on_arguments()
        def double(number):
            calls.append(number)
            return 2 * number

        return [double(4), double(4), calls, double.invalidate(4), double(4), calls]

    @step("`get_or_create`, `get_or_create_multi`")
    def _():
        first = [region.get_or_create("made", lambda: "new"), region.get_or_create("made", lambda: "newer")]
        return first + [region.get_or_create_multi(["made", "too"], lambda *keys: [f"for {key}" for key in keys])]


def limits_library(step):
    storage = limits.storage.storage_from_string(step.url())
    item = limits.parse("3/minute")

    def use(limiter, *names):
        hits = [limiter.hit(item, *names) for _ in range(4)]
        remaining = limiter.get_window_stats(item, *names).remaining
        return [limiter.test(item, *names), hits, remaining, limiter.clear(item, *names), limiter.hit(item, *names)]

    fixed = limits.strategies.FixedWindowRateLimiter(storage)
    step("fixed windows: `hit`, `test`, `get_window_stats`, `clear`")(lambda: use(fixed, "user", "1"))

    @step("sliding window counters")
    def _():
        return use(limits.strategies.SlidingWindowCounterRateLimiter(storage), "user", "2")

    step("`check`")(storage.check)
    step("moving windows", look=storage.storage.dbsize)(
        lambda: use(limits.strategies.MovingWindowRateLimiter(storage), "user", "3")
    )
    step("`reset`", look=storage.storage.dbsize)(storage.reset)
