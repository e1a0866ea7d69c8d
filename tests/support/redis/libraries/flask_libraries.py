"""Flask-Caching, Flask-Session and Flask-Limiter, in small applications that are asked without a network."""

import flask
import redis
from flask_caching import Cache
from flask_limiter import Limiter
from flask_session import Session


def flask_caching(step):
    app = flask.Flask("cached")
    cache = Cache(app, config={"CACHE_TYPE": "RedisCache", "CACHE_REDIS_URL": step.url()})
    calls = []

    @app.route("/view/<name>")
    @cache.cached(timeout=50)
    def view(name):
        calls.append(name)
        return f"hello {name} {len(calls)}"

    @cache.memoize(60)
    def double(number):
        calls.append(number)
        return 2 * number

    @step("`@cached`, `@memoize`, `delete_memoized`")
    def _():
        browser = app.test_client()
        first = [browser.get("/view/a").text, browser.get("/view/a").text, browser.get("/view/b").text]
        with app.app_context():
            then = [double(3), double(3), cache.delete_memoized(double, 3), double(3), cache.delete_memoized(double)]
            return first + then + [double(3), calls]

    @step("`set`, `get`, `add`, `set_many`, `get_many`, `delete_many`, `delete`, `has`")
    def _():
        with app.app_context():
            first = [cache.set("a", [1, "b"]), cache.get("a"), cache.add("a", 2), cache.has("a"), cache.delete("a")]
            many = [sorted(cache.set_many({"m": 1, "n": 2})), cache.get_many("m", "n", "o")]
            return first + many + [sorted(cache.delete_many("m", "n")), cache.get("m")]

    with app.app_context():
        cache.set("kept", 1)
        step("`clear()`", look=lambda: cache.get("kept"))(cache.clear)


def flask_session(step):
    app = flask.Flask("session")
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=redis.Redis.from_url(step.url(4)))
    Session(app)

    @app.route("/login/<user>")
    def login(user):
        flask.session["user"] = user
        return "in"

    @app.route("/who")
    def who():
        return flask.session.get("user", "nobody")

    @app.route("/logout")
    def logout():
        flask.session.clear()
        return "out"

    @app.route("/anew")
    def anew():
        app.session_interface.regenerate(flask.session)
        return "anew"

    @step("sessions: open, read, `regenerate`, `clear`")
    def _():
        browser, other = app.test_client(), app.test_client()
        paths = ["/who", "/login/ann", "/who", "/anew", "/who", "/logout", "/who"]
        return [[page.status_code, page.text] for page in map(browser.get, paths)] + [other.get("/who").text]


def limited(step, strategy):
    app = flask.Flask("limited")
    Limiter(lambda: strategy, app=app, default_limits=["3 per minute"], storage_uri=step.url(), strategy=strategy)

    @app.route("/")
    def page():
        return "well"

    browser = app.test_client()
    app.testing = app.config["PROPAGATE_EXCEPTIONS"] = True
    return [browser.get("/").status_code for _ in range(5)]


def flask_limiter(step):
    step("`fixed-window`, the default")(lambda: limited(step, "fixed-window"))
    step("`sliding-window-counter`")(lambda: limited(step, "sliding-window-counter"))
    step("`moving-window`")(lambda: limited(step, "moving-window"))
