"""What an application's calls give: the same steps at a Redis server and at the proxy, to be compared."""

import json
import traceback


class Steps:
    """The steps of one library at one server, in order: each is what it gave, or how it failed.

    Used as a decorator, an object runs a function at once. The name of a step is what the table in docs/use/redis.md
    says. ``look`` reads what the step might have changed, before and after it.
    """

    def __init__(self, port):
        self.host, self.port = "127.0.0.1", port
        self.results = {}

    def url(self, database=0):
        return f"redis://{self.host}:{self.port}/{database}"

    def __call__(self, name, look=lambda: None):
        def run(call):
            assert name not in self.results, name
            before = look()
            try:
                result = {"gave": json.loads(json.dumps(call()))}
            except Exception:  # what a library raises is the result
                result = {"failed": traceback.format_exc()}
            self.results[name] = result | {"before": before, "after": look()}

        return run


def failure(call, *arguments, **named):
    """Return the kind of error that a call raises."""
    try:
        call(*arguments, **named)
    except Exception as problem:
        return type(problem).__name__
    return "nothing was raised"
