"""
Django with django-redis: single keys, get_many, delete_many, locks and sessions as they are; set_many is one MULTI, so a
KEY_PREFIX that is a hash tag.
"""

import sys

import django
from django.conf import settings

url = f"redis://127.0.0.1:{sys.argv[1]}/0"
cache = {"BACKEND": "django_redis.cache.RedisCache", "LOCATION": url}
settings.configure(
    CACHES={"default": cache, "tagged": {**cache, "KEY_PREFIX": "{app}"}},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SECRET_KEY="x",
)
django.setup()

from django.contrib.sessions.backends.cache import SessionStore
from django.core.cache import caches

FRUIT = {name: f"a {name}" for name in ("apple", "banana", "cherry", "date", "elder", "fig")}

tagged = caches["tagged"]
tagged.set_many(FRUIT, timeout=60)
assert tagged.get_many(FRUIT) == FRUIT
tagged.delete_many(FRUIT)
assert tagged.get_many(FRUIT) == {}

spread = caches["default"]
for name, value in FRUIT.items():
    spread.set(name, value, timeout=60)
assert spread.get_many(FRUIT) == FRUIT
assert sorted(spread.iter_keys("*e*")) == ["apple", "cherry", "date", "elder"]
assert spread.delete_pattern("*e*") == 4
assert spread.delete_many(FRUIT) == 2
spread.set("n", 1)
assert spread.incr("n") == 2
with spread.lock("job", timeout=5):
    assert spread.add("n", 5) is False
try:
    spread.set_many(FRUIT)
    raise SystemExit("set_many over several servers is not refused")
except Exception as error:
    assert "CROSSSLOT" in str(error), error

session = SessionStore()
session["user"] = "ann"
session.save()
assert SessionStore(session_key=session.session_key)["user"] == "ann"
session.delete()
assert "user" not in SessionStore(session_key=session.session_key)
