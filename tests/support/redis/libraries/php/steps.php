<?php
// The steps of one library, run in order at one server: `php phpredis.php PORT` prints what each gave or how it failed.
$port = (int) $argv[1];
$results = [];

// $look reads what the step might have changed, before and after it.
function step($name, $call, $look = null) {
    global $results;
    if (array_key_exists($name, $results)) throw new LogicException("twice: $name");
    $look ??= fn() => null;
    $before = $look();
    try {
        $result = ["gave" => $call()];
    } catch (Throwable $problem) {
        $result = ["failed" => (string) $problem];
    }
    $results[$name] = $result + ["before" => $before, "after" => $look()];
}

function failure($call) {
    try {
        $call();
    } catch (Throwable $problem) {
        return get_class($problem);
    }
    return "nothing was raised";
}

register_shutdown_function(function () {
    global $results;
    echo json_encode($results, JSON_THROW_ON_ERROR);
});
