<?php
require "steps.php";

$r = new Redis();
$r->connect("127.0.0.1", $port);

// phpredis answers false where the server refuses: the reason stands in getLastError().
function sure($r, $answer) {
    if ($answer === false && $r->getLastError() !== null) {
        $told = $r->getLastError();
        $r->clearLastError();
        throw new RuntimeException($told);
    }
    return $answer;
}

step("`set`, `get`, `mSet`, `mGet`, `del`, `exists`, `incr`, `incrBy`, `append`, `strLen`", fn() => [
    $r->set("a", 1), $r->get("a"), $r->mSet(["b" => "two", "c" => "three"]), $r->mGet(["a", "b", "d"]), $r->incr("a"),
    $r->incrBy("a", 40), $r->append("b", "!"), $r->strLen("b"), $r->exists("a", "d"), $r->del("a", "d"), $r->get("a"),
    $r->unlink("b"), $r->setNx("c", 1), $r->incrByFloat("f", 0.5),
]);
step("times: `set` with `ex`, `px`, `nx`, `setEx`, `expire`, `ttl`, `pttl`, `persist`", function () use ($r) {
    $first = [sure($r, $r->set("t", "v", ["ex" => 120])), $r->ttl("t") > 100, $r->set("t", "w", ["nx", "ex" => 10]),
        $r->set("t", "w", 90), $r->expire("t", 300), $r->pttl("t") > 200000, $r->persist("t"), $r->ttl("t")];
    $short = [$r->set("s", 1, ["px" => 30]), $r->setEx("s2", 20, "x"), $r->pSetEx("s3", 90000, "y"), $r->ttl("none")];
    usleep(80000);
    return [...$first, ...$short, $r->get("s"), $r->set("s", 2, ["nx", "ex" => 9])];
});
step("`multi()`, `multi(Redis::PIPELINE)`, `watch`", function () use ($r, $port) {
    $other = new Redis();
    $other->connect("127.0.0.1", $port);
    $first = [$r->multi()->set("p", 1)->incr("p")->get("p")->expire("p", 60)->exec(),
        $r->multi(Redis::PIPELINE)->set("p", 5)->get("p")->exec()];
    $r->watch("p");
    $other->set("p", "elsewhere");
    $failed = $r->multi()->set("p", 6)->exec();
    return [...$first, $failed, $r->get("p")];
});
step("serialized values, a prefix", function () use ($port) {
    $typed = new Redis();
    $typed->connect("127.0.0.1", $port);
    $typed->setOption(Redis::OPT_SERIALIZER, Redis::SERIALIZER_PHP);
    $typed->setOption(Redis::OPT_PREFIX, "site:");
    return [$typed->set("k", ["x" => [1, 2.5, null]]), $typed->get("k"), $typed->del("k"), $typed->get("k")];
});
step("another database: `select(3)`", fn() => [
    $r->select(3), $r->set("only here", 1), $r->dbSize(), $r->flushDb(), $r->dbSize(),
    $r->select(0), $r->get("only here"),
]);
step("`eval`, `evalSha`, `script`", function () use ($r) {
    $script = "return redis.call('INCRBY', KEYS[1], ARGV[1])";
    return [sure($r, $r->eval($script, ["d", 4], 1)), $r->evalSha($r->script("load", $script), ["d", 5], 1)];
});
step("sessions: `session.save_handler = redis`", function () use ($port) {
    ini_set("session.save_handler", "redis");
    ini_set("session.save_path", "tcp://127.0.0.1:$port");
    ini_set("session.use_cookies", 0);
    ini_set("session.cache_limiter", "");
    $seen = [session_start()];
    $_SESSION["user"] = "ann";
    $name = session_id();
    $seen[] = session_write_close();
    $_SESSION = [];
    session_start();
    $seen[] = $_SESSION["user"] ?? null;
    $seen[] = session_regenerate_id(true);
    $fresh = session_id();
    session_write_close();
    session_id($name);
    session_start();
    $seen[] = $_SESSION["user"] ?? null;
    session_destroy();
    session_id($fresh);
    session_start();
    $seen[] = $_SESSION["user"] ?? null;
    return [...$seen, session_destroy()];
});
step("sessions with `redis.session.locking_enabled`", function () {
    ini_set("redis.session.locking_enabled", 1);
    session_id("locked");
    $seen = [session_start()];
    $_SESSION["user"] = "bob";
    $seen[] = session_write_close();
    session_start();
    return [...$seen, $_SESSION["user"] ?? null, session_destroy()];
});
step("`flushDb`, `dbSize`, `ping`", fn() => [$r->flushDb(), $r->dbSize(), $r->ping()]);
step("`hSet`", fn() => sure($r, $r->hSet("hash", "field", 1)));
step("`lPush`", fn() => sure($r, $r->lPush("list", 1)));
step("`keys`", fn() => count(sure($r, $r->keys("*"))));
step("a list in `multi()`", function () use ($r) {
    $r->multi()->set("before", 1);
    if ($r->lPush("list", 1) === false) { // it was not queued
        $told = $r->getLastError();
        $r->discard();
        throw new RuntimeException($told);
    }
    return $r->set("after", 1)->exec();
}, fn() => $r->mGet(["before", "after"]));
