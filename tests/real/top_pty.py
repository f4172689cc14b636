"""ringmaster top in a real terminal: python3 top_pty.py PROGRAM ARGS…   Prints what was seen as one JSON object."""
import fcntl, json, os, pty, re, select, signal, struct, sys, termios, time

PATIENCE = 20


class Screen:
    def __init__(self, program, columns, rows, **env):
        self.all = b""
        self.columns, self.rows = columns, rows
        self.main, self.other = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(self.other)
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            fcntl.ioctl(self.other, termios.TIOCSCTTY, 0)
            for fd in (0, 1, 2):
                os.dup2(self.other, fd)
            kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "TERM")}
            os.execvpe(program[0], program, {**kept, "TERM": "xterm", **env})

    def resize(self, columns, rows):
        self.columns, self.rows = columns, rows
        fcntl.ioctl(self.other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        if select.select([self.main], [], [], seconds)[0]:
            self.all += os.read(self.main, 65536)

    def frames(self):
        """Whole ones, without what makes them bold or red."""
        text = re.sub(r"\x1b\[[0-9;]*m", "", self.all.decode("utf8", "replace"))
        found = re.findall(r"\x1b\[H(.*?)\x1b\[J", text, re.S)
        return [re.split(r"\r+\n", frame.replace("\x1b[K", "")) for frame in found]

    def wait(self, what, condition):
        """Until the last frame is as it should be."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            frames = self.frames()
            if frames and condition(frames[-1]):
                return frames[-1]
            self.read(0.2)
        raise SystemExit(f"gave up waiting for {what}: {self.all[-3000:]!r}")

    def send(self, text):
        os.write(self.main, text.encode())

    def end(self):
        """Waits for its end: exit code, and whether the terminal is as it was."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            self.read(0.05)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid != 0:
                while select.select([self.main], [], [], 0)[0]:
                    self.read(0)
                return {
                    "code": os.waitstatus_to_exitcode(status),
                    "restored": termios.tcgetattr(self.other) == self.before
                    and self.all.rstrip().endswith(b"\x1b[?25h\x1b[?1049l"),
                }
        os.kill(self.pid, signal.SIGKILL)
        raise SystemExit("it does not end")


program = sys.argv[1:]
seen = {}
has = lambda *words: lambda frame: all(any(word in line for line in frame) for word in words)
fits = lambda screen: all(len(line) <= screen.columns for line in screen.frames()[-1]) and len(screen.frames()[-1]) <= screen.rows

# Every view, sorted, filtered, in another size, and left with q.
s = Screen(program, 80, 24)
s.wait("pools", has("REQ/S*", "alpha", "[1 pools]"))
seen["fits"] = [fits(s)]
s.send("2")
s.wait("servers", has("[2 servers]", "alpha", "live"))
seen["fits"].append(fits(s))
s.send("s")
s.wait("another column", has("ERR/S*"))
s.send("/nobody")
s.wait("what is typed", has("filter: nobody_"))
s.send("\r")
s.wait("nothing that matches", lambda frame: has("filter: nobody")(frame) and not has("live")(frame))
s.send("/\x1b")
s.wait("all again", has("live"))
s.send("3")
s.wait("keys", has("[3 hot]", "hot"))
s.send("5")
s.wait("clients", has("[5 clients]", "third"))
s.resize(40, 10)
os.kill(s.pid, signal.SIGWINCH)
s.wait("a smaller screen", lambda frame: len(frame) == 10 and max(map(len, frame)) <= 40)
s.resize(120, 30)
os.kill(s.pid, signal.SIGWINCH)
s.wait("a larger screen", lambda frame: len(frame) == 30)
seen["fits"].append(fits(s))
seen["colour"] = b"\x1b[1m" in s.all
s.send("q")
seen["q"] = s.end()

for name, way in (("control-c", "\x03"), ("SIGTERM", signal.SIGTERM), ("SIGHUP", signal.SIGHUP)):
    s = Screen(program, 80, 24, NO_COLOR="1")
    s.wait("pools", has("alpha"))
    seen["no colour"] = re.search(rb"\x1b\[[0-9;]*m", s.all) is None
    if isinstance(way, str):
        s.send(way)
    else:
        os.kill(s.pid, way)
    seen[name] = s.end()

# A terminal that cannot be drawn on.
s = Screen([*program, "--once"], 80, 24, TERM="dumb")
end = time.monotonic() + PATIENCE
while os.waitpid(s.pid, os.WNOHANG)[0] == 0 and time.monotonic() < end:
    s.read(0.05)
while select.select([s.main], [], [], 0)[0]:
    s.read(0)
seen["dumb"] = b"\x1b" not in s.all and b"alpha" in s.all
print(json.dumps(seen))
