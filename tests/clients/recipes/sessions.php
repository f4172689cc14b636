<?php
// PHP sessions: as they are, locks included.
ini_set("session.save_handler", "redis");
ini_set("session.save_path", "tcp://127.0.0.1:{$argv[1]}?prefix=session:&timeout=5");
ini_set("redis.session.locking_enabled", "1");
ini_set("session.use_cookies", "0");
ini_set("session.cache_limiter", "");
function check($what, $right) { if (!$right) { fwrite(STDERR, "$what\n"); exit(1); } }
foreach (["a1", "b2", "c3", "d4", "e5", "f6"] as $id) {
  session_id($id);
  check("start", session_start());
  $_SESSION["user"] = "ann $id";
  check("write", session_write_close());
  $_SESSION = [];
  session_id($id);
  session_start();
  check("read", $_SESSION["user"] === "ann $id");
  check("destroy", session_destroy());
  session_id($id);
  session_start();
  check("gone", $_SESSION === []);
  session_destroy();
}
echo "ok\n";
