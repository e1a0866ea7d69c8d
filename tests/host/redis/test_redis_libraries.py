"""Applications that use Redis get from the proxy what a Redis server gives, or are refused before anything ran.

Each library does its usual few calls twice, at a real server and at the proxy, with its defaults. The table of what
works and what is refused in docs/use/redis.md is written by these tests.
"""

import importlib
import re
from functools import partial
from pathlib import Path

import pytest
import redis

from omap.sizing import one_choice
from tests.support.redis import foreign
from tests.support.redis.stack import Stack, free_port
from tests.support.redis.steps import Steps
from tests.support.redis.support import RealRedis

DOCUMENT = Path(__file__).parents[3] / "docs" / "use" / "redis.md"
REASON = "docs/use/redis.md"
"""The page that says why something is refused; a refusal names it."""
ABSENT = "unknown subcommand 'TRACKING'"
"""What a Redis server without client-side caching answers, which libraries may know."""
HEAD = "| library | works | refused |\n|---|---|---|\n"
PARAMS = one_choice(capacity=500, key_bytes=16, value_bytes=1024, page_bytes=2048)


def python(module, name, port):
    steps = Steps(port)
    getattr(importlib.import_module(f"tests.support.redis.libraries.{module}"), name)(steps)
    return steps.results


LIBRARIES = {
    "redis-py": partial(python, "redis_py", "redis_py"),
    "redis-py, asyncio": partial(python, "redis_py", "redis_py_asyncio"),
    "valkey-py": partial(python, "redis_py", "valkey_py"),
    "Django": partial(python, "django_library", "django_cache"),
    "django-redis": partial(python, "django_library", "django_redis"),
    "Flask-Caching": partial(python, "flask_libraries", "flask_caching"),
    "Flask-Session": partial(python, "flask_libraries", "flask_session"),
    "Flask-Limiter": partial(python, "flask_libraries", "flask_limiter"),
    "cachelib": partial(python, "caches", "cachelib"),
    "dogpile.cache": partial(python, "caches", "dogpile"),
    "limits": partial(python, "caches", "limits_library"),
    "Celery": partial(python, "queues", "celery"),
    "rq": partial(python, "queues", "rq"),
    "huey": partial(python, "queues", "huey"),
    "ioredis": partial(foreign.node, "ioredis.js"),
    "node-redis": partial(foreign.node, "node_redis.js"),
    "connect-redis": partial(foreign.node, "connect_redis.js"),
    "rate-limiter-flexible": partial(foreign.node, "rate_limiter_flexible.js"),
    "BullMQ": partial(foreign.node, "bullmq.js"),
    "phpredis": partial(foreign.php, "phpredis.php", needed="exit(extension_loaded('redis') ? 0 : 1);"),
    "predis": partial(foreign.php, "predis.php", needed="require 'Predis/Autoloader.php';"),
}


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """Where a Redis server and the proxy listen."""
    port = free_port()
    real = RealRedis(tmp_path_factory.mktemp("real"), "--port", str(port), "--databases", "16")
    try:
        stack = Stack(tmp_path_factory.mktemp("stack"), PARAMS)
        yield port, stack.port
        stack.stop()
    finally:
        real.close()


def listed(names):
    return ";<br>".join(names) or "-"


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_gets_the_same_or_is_refused(ports, request, library):
    for port in ports:
        redis.Redis(port=port).flushall()
    expected, found = (LIBRARIES[library](port=port) for port in ports)
    assert list(expected) == list(found)
    works, refused = [], []
    for name, wanted in expected.items():
        got = found[name]
        assert "gave" in wanted, f"{name} fails at a Redis server: {wanted['failed']}"
        if "gave" in got:
            assert got == wanted, name
            works.append(name)
        else:
            told = got["failed"]
            assert REASON in told or ABSENT in told, f"{name}: ...{told[-800:]}"
            assert got.get("before") == got.get("after"), f"{name}: it was refused, and something of it ran"
            refused.append(name)
    compare_row(request, library, f"| {library} | {listed(works)} | {listed(refused)} |\n")


def table():
    """Return the page, where its table of libraries stands, and the lines of the table by library."""
    text = DOCUMENT.read_text("utf-8")
    found = re.search(r"<!-- libraries\b[^>]*-->\n(.*?)<!-- end -->", text, re.DOTALL)
    return text, found.span(1), {line.split(" | ")[0][2:]: line for line in found[1].splitlines(keepends=True)[2:]}


def compare_row(request, library, row):
    text, (start, end), rows = table()
    if request.config.getoption("--regenerate"):
        rows[library] = row
        wanted = HEAD + "".join(rows[name] for name in LIBRARIES if name in rows)
        DOCUMENT.write_text(text[:start] + wanted + text[end:], encoding="utf-8")
        return
    assert rows.get(library) == row, f"{REASON} is out of date: run pytest tests/host/redis --regenerate"


def test_the_table_has_every_library():
    text, (start, end), rows = table()
    assert text[start:end] == HEAD + "".join(rows.values())
    assert list(rows) == list(LIBRARIES)
