"""Queues of tasks need lists, hashes and sorted sets: nothing of them may run by half."""

import celery as celery_package
import redis
import rq as rq_package
from huey import RedisHuey


def celery(step):
    app = celery_package.Celery("tasks", broker=step.url(5), backend=step.url(5))
    app.conf.update(
        broker_connection_retry=False, task_publish_retry=False, broker_transport_options={"max_retries": 0}
    )

    @app.task
    def add(one, other):
        return one + other

    step("`delay`", look=redis.Redis.from_url(step.url(5)).dbsize)(lambda: len(add.delay(1, 2).id))


def rq(step):
    client = redis.Redis.from_url(step.url(6))
    queue = rq_package.Queue(connection=client)
    step("`enqueue`", look=client.dbsize)(lambda: len(queue.enqueue("os.getpid").id) > 10)


def huey(step):
    app = RedisHuey("tasks", url=step.url(7))

    @app.task()
    def add(one, other):
        return one + other

    step("a task", look=redis.Redis.from_url(step.url(7)).dbsize)(lambda: len(add(1, 2).id))
