"""A real Redis server for all tests of the proxy."""

import pytest

from tests.host.redis.support import RealRedis


@pytest.fixture(scope="session")
def real_redis(tmp_path_factory):
    server = RealRedis(tmp_path_factory.mktemp("redis"))
    yield server
    server.close()
