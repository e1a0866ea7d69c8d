"""A real Redis server for all tests of the proxy."""

import pytest

from tests.support.redis.stack import Stack
from tests.support.redis.support import RealRedis


@pytest.fixture(scope="session")
def real_redis(tmp_path_factory):
    server = RealRedis(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def stack(tmp_path_factory):
    stack = Stack(tmp_path_factory.mktemp("stack"))
    yield stack
    stack.stop()
