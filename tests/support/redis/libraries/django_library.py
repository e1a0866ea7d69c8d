"""Django's own cache and sessions, and django-redis."""

import time

import django
from django.conf import settings
from django.core.cache import cache, caches
from django.test import override_settings

from tests.support.redis.steps import failure


def configure():
    if not settings.configured:
        settings.configure(SECRET_KEY="not one", SESSION_ENGINE="django.contrib.sessions.backends.cache")
        django.setup()


def usual(step):
    """Run what Django's documentation of a cache shows."""

    @step("`set`, `get`, `add`, `get_or_set`, `has_key`, `touch`, `delete`")
    def _():
        first = [cache.set("a", {"x": [1, 2]}, 30), cache.get("a"), cache.get("b", "default"), cache.add("a", 1)]
        second = [cache.add("b", 1), cache.get_or_set("c", lambda: "made", 100), cache.get_or_set("c", "again")]
        third = [cache.has_key("a"), "d" in cache, cache.touch("a", 70), cache.touch("d"), cache.touch("a", None)]
        never = [cache.set("e", 1, None), cache.get("e"), cache.set("f", 1, 0), cache.get("f")]
        return first + second + third + never + [cache.delete("a"), cache.delete("a"), cache.get("a")]

    @step("`set_many`, `get_many`, `delete_many`")
    def _():
        first = [cache.set_many({"m": 1, "n": "two"}), cache.set_many({"o": 3}, timeout=40)]
        return first + [cache.get_many(["m", "n", "o", "p"]), cache.delete_many(["m", "p"]), cache.get_many(["m", "n"])]

    @step("`incr`, `decr`, versions")
    def _():
        cache.set("count", 1)
        first = [cache.incr("count"), cache.incr("count", 9), cache.decr("count", 4), failure(cache.incr, "missing")]
        return first + [cache.incr_version("count"), cache.get("count"), cache.get("count", version=2)]

    @step("timeouts")
    def _():
        cache.set("short", 1, 1)
        time.sleep(1.1)
        return [cache.get("short"), cache.add("short", 2)]

    @step("sessions of `django.contrib.sessions.backends.cache`")
    def _():
        from django.contrib.sessions.backends.cache import SessionStore

        session = SessionStore()
        session["user"] = 42
        session.set_expiry(300)
        session.save()
        key = session.session_key
        again = SessionStore(session_key=key)
        first = [again["user"], again.exists(key), again.get_expiry_age()]
        again.cycle_key()
        then = [SessionStore(session_key=key).load(), SessionStore(session_key=again.session_key)["user"]]
        again.flush()
        return first + then + [SessionStore(session_key=again.session_key).load()]

    step("`clear`")(lambda: [cache.set("a", 1), cache.clear(), cache.get("a")])


def django_cache(step):
    configure()
    where = {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": step.url(1)}
    with override_settings(CACHES={"default": where}):
        usual(step)
        caches.close_all()


def django_redis(step):
    configure()
    options = {"CLIENT_CLASS": "django_redis.client.DefaultClient"}
    where = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": step.url(2), "OPTIONS": options}
    with override_settings(CACHES={"default": where}):
        usual(step)

        @step("`ttl`, `pttl`, `expire`, `persist`, `set(nx=True)`")
        def _():
            cache.set("t", 1, 60)
            first = [0 < cache.ttl("t") <= 60, cache.pttl("t") > 50000, cache.expire("t", 90), cache.ttl("t") > 60]
            then = [cache.persist("t"), cache.ttl("t"), cache.ttl("nothing")]
            return first + then + [cache.set("t", 2, nx=True), cache.set("u", 2, nx=True, timeout=9), cache.get("t")]

        @step("`lock`")
        def _():
            with cache.lock("lock", timeout=20):
                held = cache.lock("lock").acquire(blocking=False)
            return [held, cache.lock("lock").acquire(blocking=False)]

        cache.set("kept", 1)
        step("`keys`")(lambda: cache.keys("kep*"))
        step("`iter_keys`")(lambda: list(cache.iter_keys("kep*")))
        step("`delete_pattern`", look=lambda: cache.get("kept"))(lambda: cache.delete_pattern("kep*"))
        step("`sadd`")(lambda: cache.sadd("members", 1))
        caches.close_all()
