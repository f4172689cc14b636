"""Drives redis-py for tests/clients/python.ts: one JSON request a line on stdin, one JSON answer a line on stdout.

Bytes travel as text of one character a byte. Connections are numbered by the other side. Each request runs on a
thread of its connection, so that a blocking pop does not stop the others.
"""

import hashlib
import json
import logging
import queue
import sys
import threading

import redis

LONG = 2000
# In cluster mode it prints errors that it raises too.
logging.disable(logging.CRITICAL)
out = threading.Lock()


def plain(value):
    """A reply as JSON; everything that JSON has no word for says what it is."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return {"float": repr(value)}
    if isinstance(value, bytes):
        if len(value) > LONG:
            return {"bytes": hashlib.sha256(value).hexdigest(), "length": len(value)}
        return {"bytes": value.decode("latin-1")}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return ["set"] + sorted((plain(item) for item in value), key=json.dumps)
    if isinstance(value, dict):
        return {"map": [[plain(k), plain(v)] for k, v in value.items()]}
    if isinstance(value, Exception):
        return {"error": str(value), "class": type(value).__name__}
    return {"other": repr(value)}


def arguments(request):
    return [arg.encode("latin-1") for arg in request]


class Connection:
    def __init__(self, port):
        self.redis = self.make(port)
        self.redis.ping()
        self.watched = None
        self.pubsub = None
        self.jobs = queue.Queue()
        threading.Thread(target=self.work, daemon=True).start()

    def make(self, port):
        return redis.Redis(port=port)

    def work(self):
        while True:
            number, request = self.jobs.get()
            try:
                value = {"value": getattr(self, request["op"])(request)}
            except Exception as error:  # whatever it is, the other side is to hear of it
                value = {"failure": plain(error)}
            answer(number, value)

    def call(self, request):
        # Options and callbacks are found by the command's name, which has to be text.
        name, *args = arguments(request["args"])
        return plain(self.redis.execute_command(name.decode("latin-1"), *args))

    def pipeline(self, request):
        return self.run(self.redis.pipeline(transaction=False), request)

    def run(self, pipe, request):
        for args in request["commands"]:
            name, *rest = arguments(args)
            pipe.execute_command(name.decode("latin-1"), *rest)
        return plain(pipe.execute(raise_on_error=False))

    def transaction(self, request):
        pipe, self.watched = self.watched or self.redis.pipeline(), None
        pipe.multi() if pipe.watching else None
        try:
            return self.run(pipe, request)
        except redis.WatchError:
            return None

    def watch(self, request):
        self.watched = self.redis.pipeline()
        return plain(self.watched.watch(*request["keys"]))

    def unwatch(self, _request):
        value, self.watched = self.watched.unwatch(), None
        return plain(value)

    def script(self, request):
        script = self.redis.register_script(request["text"])
        return plain(script(request["keys"], arguments(request["args"])))

    def scan_all(self, request):
        return [key.decode("latin-1") for key in self.redis.scan_iter(request["match"], request["count"])]

    def subscribe(self, request):
        self.pubsub = self.redis.pubsub()
        self.change(request, self.pubsub.subscribe, self.pubsub.psubscribe)

    def unsubscribe(self, request):
        self.change(request, self.pubsub.unsubscribe, self.pubsub.punsubscribe)

    def change(self, request, plain_form, pattern_form):
        if request["channels"]:
            plain_form(*request["channels"])
        if request["patterns"]:
            pattern_form(*request["patterns"])
        for _ in request["channels"] + request["patterns"]:
            message = self.pubsub.get_message(timeout=20)
            if not message["type"].endswith("subscribe"):
                raise RuntimeError(f"expected a confirmation, found {message}")

    def messages(self, request):
        got = []
        while len(got) < request["count"]:
            message = self.pubsub.get_message(timeout=20)
            if message is None:
                raise RuntimeError(f"expected {request['count']} messages, found {got}")
            if message["type"] not in ("message", "pmessage"):
                continue
            start = message["channel"].decode("latin-1")
            if message["pattern"]:
                start = message["pattern"].decode("latin-1") + "|" + start
            got.append([start, message["data"].decode("latin-1")])
        return got

    def own(self, _request):
        r = self.redis
        return plain([
            r.hset("own:h", mapping={"a": 1, "b": "two", "c": b"\xff\0"}),
            r.hgetall("own:h"),
            r.mset({"own:1": "x", "own:2": "y", "own:3": "z"}),
            r.mget("own:1", "own:2", "own:3", "own:4"),
            r.zadd("own:z", {"a": 1.5, "b": "inf"}),
            r.zrange("own:z", 0, -1, withscores=True),
            r.zscore("own:z", "b"),
            r.incrbyfloat("own:f", 0.1),
            r.xadd("own:x", {"f": "v"}, id="1-1"),
            r.xread({"own:x": "0"}, count=1),
            r.set("own:t", "v", ex=100, nx=True),
            r.set("own:t", "v", ex=100, nx=True),
            r.geoadd("own:g", (13.4, 52.5, "Berlin")),
            r.geopos("own:g", "Berlin"),
            r.geosearch("own:g", member="Berlin", radius=10, unit="km", withdist=True),
            r.exists("own:1", "own:2", "own:9"),
            r.bitcount("own:1"),
            r.hscan("own:h"),
            r.ping(),
            r.echo("x"),
            r.client_setname("me"),
            r.client_getname(),
            r.client_info()["name"],
            r.info()["loading"],
            r.config_get("timeou*"),
            r.time()[0] > 0,
            r.delete("own:1", "own:2", "own:3"),
        ])

    def quit(self, _request):
        return plain(self.redis.quit())

    def disconnect(self):
        try:
            self.redis.connection_pool.disconnect()
        except Exception:
            pass  # closed already


class ClusterConnection(Connection):
    """In cluster mode; it has no MULTI there."""

    def make(self, port):
        return redis.cluster.RedisCluster(host="127.0.0.1", port=port)

    def pipeline(self, request):
        return self.run(self.redis.pipeline(), request)

    def nodes(self, _request):
        return [node.name for node in self.redis.get_primaries()]

    def own(self, _request):
        r = self.redis
        return plain([
            r.mset_nonatomic({f"own:{i}": i for i in range(20)}),
            r.mget_nonatomic(*[f"own:{i}" for i in range(21)]),
            r.exists(*[f"own:{i}" for i in range(21)]),
            r.delete(*[f"own:{i}" for i in range(21)]),
            r.cluster_info()["cluster_state"],
            r.cluster_keyslot("foo"),
            r.info()["cluster_enabled"],
            r.readonly(),
            r.readwrite(),
        ])

    def disconnect(self):
        if self.pubsub is not None:
            self.pubsub.close()
        self.redis.close()


def answer(number, value):
    with out:
        sys.stdout.write(json.dumps({"number": number, **value}) + "\n")
        sys.stdout.flush()


def main():
    connections = {}
    for line in sys.stdin:
        request = json.loads(line)
        number, name = request["number"], request["connection"]
        if request["op"] == "connect":
            try:
                kind = ClusterConnection if request.get("cluster") else Connection
                connections[name] = kind(request["port"])
                answer(number, {"value": redis.__version__})
            except Exception as error:
                answer(number, {"failure": plain(error)})
        elif request["op"] == "disconnect":
            # Not behind the others: one of them may be waiting for ever.
            connections[name].disconnect()
            answer(number, {})
        else:
            connections[name].jobs.put((number, request))


main()
