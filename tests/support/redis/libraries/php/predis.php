<?php
require "steps.php";
require "Predis/Autoloader.php";
Predis\Autoloader::register();

$r = new Predis\Client(["port" => $port]);

step("`set`, `get`, `mset`, `mget`, `del`, `exists`, `incr`, `incrby`, `append`", fn() => [
    (string) $r->set("a", 1), $r->get("a"), (string) $r->mset(["b" => "two", "c" => "three"]),
    $r->mget(["a", "b", "d"]),
    $r->incr("a"), $r->incrby("a", 40), $r->append("b", "!"), $r->exists("a"), $r->del(["a", "d"]), $r->get("a"),
]);
step("times: `set` with `EX`, `PX`, `NX`, `setex`, `expire`, `ttl`, `pttl`, `persist`", function () use ($r) {
    $first = [(string) $r->set("t", "v", "EX", 50), $r->ttl("t") > 40, $r->set("t", "w", "NX"), $r->expire("t", 90),
        $r->pttl("t") > 50000, $r->persist("t"), $r->ttl("t")];
    $short = [(string) $r->set("s", 1, "PX", 30), (string) $r->setex("s2", 20, "x"), $r->ttl("nothing")];
    usleep(80000);
    return [...$first, ...$short, $r->get("s"), (string) $r->set("s", 2, "EX", 9, "NX")];
});
step("`pipeline`", fn() => array_map("strval", $r->pipeline(fn($pipe) => $pipe->set("l", 1)->incr("l")->get("l"))));
step("`transaction`, with `watch` and `cas`", function () use ($r, $port) {
    $first = array_map("strval", $r->transaction(fn($tx) => $tx->set("p", 1)->incr("p")->get("p")));
    $other = new Predis\Client(["port" => $port]);
    $options = ["watch" => "p", "cas" => true];
    $failed = failure(fn() => $r->transaction($options, function ($tx) use ($other) {
        $now = $tx->get("p");
        $other->set("p", "elsewhere");
        $tx->multi();
        $tx->set("p", $now + 1);
    }));
    return [...$first, $failed, $r->get("p")];
});
step("another database: `database` 3", function () use ($r, $port) {
    $other = new Predis\Client(["port" => $port, "database" => 3]);
    return [(string) $other->set("only here", 1), $r->get("only here"), $other->dbsize(), (string) $other->flushdb()];
});
step("`eval`", fn() => [$r->eval("return redis.call('INCRBY', KEYS[1], ARGV[1])", 1, "d", 4)]);
step("sessions: `Predis\\Session\\Handler`", function () use ($r) {
    $handler = new Predis\Session\Handler($r, ["gc_maxlifetime" => 300]);
    $first = [$handler->write("id", "data"), $handler->read("id"), $r->ttl("id") > 200];
    return [...$first, $handler->destroy("id"), $handler->read("id")];
});
step("`flushdb`, `dbsize`, `ping`", fn() => [(string) $r->flushdb(), $r->dbsize(), (string) $r->ping()]);
step("`hset`", fn() => $r->hset("hash", "field", 1));
step("`lpush`", fn() => $r->lpush("list", [1]));
step("`keys`", fn() => count($r->keys("*")));
step("a list in `transaction`", function () use ($r) {
    return count($r->transaction(fn($tx) => $tx->set("before", 1)->lpush("list", [1])->set("after", 1)));
}, fn() => $r->mget(["before", "after"]));
