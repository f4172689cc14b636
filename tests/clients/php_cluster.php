<?php
// Drives phpredis' RedisCluster for cluster_libraries.ts: one JSON request a line on stdin, one JSON answer a line on stdout.
$cluster = new RedisCluster(null, ["127.0.0.1:" . $argv[1]]);

function attempt(RedisCluster $cluster, array $request) {
    switch ($request["op"]) {
        case "call":
            $args = $request["args"];
            $cluster->clearLastError();
            $reply = $cluster->rawCommand($request["key"], ...$args);
            return $cluster->getLastError() === null ? $reply : ["error" => $cluster->getLastError()];
        case "transaction":
            $cluster->multi();
            foreach ($request["commands"] as $args) $cluster->{array_shift($args)}(...$args);
            return $cluster->exec();
        case "script":
            return $cluster->eval($request["text"], array_merge([$request["key"]], $request["args"]), 1);
        case "own":
            $keys = array_map(fn($i) => "own:$i", range(0, 19));
            return [
                $cluster->mset(array_combine($keys, range(0, 19))),
                $cluster->mget([...$keys, "none"]),
                $cluster->del($keys),
            ];
        case "scan":
            $keys = [];
            foreach ($cluster->_masters() as $master) {
                $cursor = null;
                while (($found = $cluster->scan($cursor, $master, null, 100)) !== false) array_push($keys, ...$found);
            }
            return $keys;
        case "nodes":
            return array_map(fn($master) => "$master[0]:$master[1]", $cluster->_masters());
    }
}

while (($line = fgets(STDIN)) !== false) {
    try {
        $answer = ["value" => attempt($cluster, json_decode($line, true))];
    } catch (RedisClusterException $error) {
        $answer = ["value" => ["error" => $error->getMessage()]];
    }
    echo json_encode($answer), "\n";
}
