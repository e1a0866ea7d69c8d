"""Removals of the countermeasures of ``host``."""

from tests.support.mutations.removal import Removal

REMOVALS = [
    Removal("KEY.FILE.OWNER", "host/keyfile.py", "if mode & _OTHERS:", "if False:"),
    Removal("KEY.FILE.OWNER", "host/keyfile.py", "os.O_CREAT | os.O_EXCL, 0o600)", "os.O_CREAT | os.O_TRUNC, 0o600)"),
    Removal(
        "KEY.FILE.OWNER",
        "host/keyfile.py",
        "os.fchmod(descriptor, 0o600)  # also if the umask took some of it away",
        "os.fchmod(descriptor, 0o644)",
    ),
    Removal(
        "RELAY.KEY.ABSENT",
        "host/model/process.py",
        '"key_file": os.path.abspath(key_file)}',
        '"key_file": os.path.abspath(key_file)}\n        process.kept = open(key_file).read()',
    ),
    Removal(
        "RELAY.SESSION.OWNED",
        "host/relay/switch.py",
        "if head & _SAME not in port.sessions:\n                    break",
        "pass",
    ),
    Removal("RELAY.SESSION.OWNED", "host/relay/switch.py", "port.sessions.clear()", "pass"),
    Removal(
        "RELAY.SESSION.OWNED",
        "host/relay/switch.py",
        "_strike(port, _head(read_header(answers[at : at + HEADER.size])))",
        "pass",
    ),
    Removal(
        "RELAY.RECORD.CHECKED",
        "host/relay/switch.py",
        "if not self._codec.command_lines(_DATA, lines, count):\n                    break",
        "pass",
    ),
    Removal("RELAY.RECORD.CHECKED", "host/relay/switch.py", 'Refusal.MALFORMED, "malformed")', "Refusal.MALFORMED)"),
    Removal("SOCKET.FILE.OWNER", "host/socketfile.py", "mask = os.umask(_OTHERS)", "mask = os.umask(0)"),
    Removal(
        "DATA.FOLDER.HELD", "host/data/files.py", "return layer.lock(os.path.join(folder, LOCK))", "return lambda: None"
    ),
    Removal("DATA.FOUND.SYNCED", "host/data/folder.py", "self.layer.sync_file(self.path_of(place))", "pass"),
    Removal(
        "DATA.DAMAGE.TOLD",
        "host/data/frames.py",
        "if self._frame(self.end + at, above=self.end) is not None:",
        "if False:",
    ),
    Removal("DATA.MAP.CONTINUED", "host/data/folder.py", "if header.count != expected:", "if False:"),
    Removal(
        "DATA.OLD.KEPT",
        "host/data/folder.py",
        "journal.roll()  # so",
        "journal.roll()\n            self.replaced(place, 0.0)  # so",
    ),
    Removal("RELAY.INPUT.BOUNDED", "host/relay/connection.py", "self.read(False)", "pass"),
    Removal(
        "RELAY.INPUT.BOUNDED",
        "host/relay/connection.py",
        "self.blocked = True\n        self._start_timer(",
        "self._start_timer(",
    ),
    Removal(
        "RELAY.CLIENTS.BOUNDED", "host/relay/relay.py", "if len(self.connections) >= self.limits.clients:", "if False:"
    ),
    Removal("RELAY.INPUT.BOUNDED", "host/relay/connection.py", "write(bytes(records))", "write(records)"),
    Removal("RELAY.CLIENTS.BOUNDED", "host/relay/switch.py", "_strike(*before)", "pass"),
    Removal(
        "RELAY.TURNS.SHARED",
        "host/relay/handshakes.py",
        "crowded = self._under_way[oldest.port.group] > 1 or self._turns[0]",
        "crowded = False",
    ),
    Removal(
        "RELAY.TURNS.SHARED",
        "host/relay/handshakes.py",
        "next(iter(next(filter(None, self._turns))))",
        "next(iter(self._waiting))",
    ),
    Removal("RELAY.TURNS.SHARED", "host/relay/handshakes.py", "return oldest.answered + (", "return math.inf + ("),
    Removal(
        "CLIENT.WITNESS.DEFAULT", "host/client/settings.py", "return witness_file(", "return None and witness_file("
    ),
    Removal(
        "CLIENT.MAP.REMEMBERED", "host/client/witness.py", "if self.map_id and map_id != self.map_id:", "if False:"
    ),
    Removal("CLIENT.RESTORE.COMPLETE", "host/client/witness.py", " and self.operation < kept\n", "\n"),
    Removal(
        "RELAY.ACK.SYNCED",
        "host/relay/keeper.py",
        "            self.folder.append(records)\n        self._appended = True",
        "            self.folder.append(records)\n            return\n        self._appended = True",
    ),
    Removal("CLIENT.OPERATION.RISES", "host/client/witness.py", "if operation <= self.operation:", "if False:"),
    Removal(
        "CLIENT.REFUSAL.DOUBTED", "host/client/conversation.py", "if record[0] == RecordType.REFUSED:", "if False:"
    ),
    Removal("CLIENT.FAULT.LATCH", "host/client/sync.py", "any more\n                self._dead = error\n", "\n"),
    Removal("CLIENT.FAULT.LATCH", "host/client/aio.py", "any more\n        self._dead = error\n", "\n"),
    Removal(
        "CLIENT.RATE.CONSTANT",
        "host/client/aio.py",
        "self._queue.seal_one(talk, self._count)",
        "self._queue.seal(talk)",
    ),
    Removal("CLIENT.RATE.CONSTANT", "host/client/aio.py", "elif self._ticks is None:\n", "else:\n"),
    Removal(
        "CLIENT.RATE.CONSTANT",
        "host/client/aio.py",
        "self._queue.waiting and self._ticks is None and",
        "self._queue.waiting and",
    ),
    Removal(
        "REDIS.AUTH.CONST_TIME",
        "host/redis/connection.py",
        'hmac.compare_digest(password, wanted.encode("utf-8", "surrogateescape"))',
        'password == wanted.encode("utf-8", "surrogateescape")',
    ),
    Removal("REDIS.AUTH.SLOWED", "host/redis/guesses.py", "await self._sleep(wait)", "pass"),
    Removal("REDIS.AUTH.SLOWED", "host/redis/guesses.py", "async with suspect.turn:", "if True:"),
    Removal(
        "REDIS.IDLE.CLOSED",
        "host/redis/server.py",
        "return self.limits.timeout or None",
        "return None",
        error="TimeoutError",
    ),
    Removal(
        "REDIS.IDLE.CLOSED",
        "host/redis/server.py",
        "patience.wait(writer.drain(), self.limits.timeout or None)",
        "patience.wait(writer.drain(), None)",
        error="TimeoutError",
    ),
    Removal("REDIS.IDLE.CLOSED", "host/redis/server.py", "if guest is None:", "if True:", error="TimeoutError"),
    Removal("REDIS.INPUT.BOUNDED", "host/redis/requests.py", "if count > ARGUMENTS_LIMIT:", "if False:"),
    Removal(
        "REDIS.INPUT.BOUNDED",
        "host/redis/requests.py",
        "if _announces_more(chunk):",
        "if False:",
    ),
    Removal(
        "REDIS.INPUT.BOUNDED",
        "host/redis/requests.py",
        "or (length := int(found[1])) > limit:",
        "or (length := int(found[1])) < 0:",
    ),
    Removal("REDIS.INPUT.BOUNDED", "host/redis/requests.py", "if after - self._start > REQUEST_LIMIT:", "if False:"),
    Removal(
        "REDIS.INPUT.BOUNDED",
        "host/redis/requests.py",
        "if len(self._buffer) - self._walked > LINE_LIMIT:",
        "if False:",
    ),
    Removal(
        "REDIS.INPUT.BOUNDED", "host/redis/requests.py", "if len(self._buffer) - self._start > LINE_LIMIT:", "if False:"
    ),
    Removal(
        "REDIS.KEY.VERIFIED",
        "host/redis/databases.py",
        "read = self.cells.open(place[1], cell, place[0])",
        "read = self.cells.open(place[1][:0], cell, 0)",
    ),
    Removal(
        "REDIS.LISTEN.GUARDED",
        "host/redis/server.py",
        "if self.password is None and self.host not in LOOPBACK:",
        "if False:",
    ),
    Removal(
        "REDIS.OPS.FIXED",
        "host/redis/scheduler.py",
        "for one in group for operation in one.operations]",
        "for one in group for operation in one.operations if operation.kind]",
    ),
    Removal(
        "REDIS.OPS.FIXED",
        "host/redis/transactions.py",
        "planned = [plan(words) for words in self.queue]",
        "planned = [] if session.watch.broken else [plan(words) for words in self.queue]",
    ),
    Removal(
        "REDIS.OPS.FIXED",
        "host/redis/scripts/plans.py",
        "return Plan(apply, places)",
        "return Plan(apply, places[: len(script.text) % 2 + 1])",
    ),
    Removal("REDIS.SCRIPT.BOUNDED", "host/redis/scripts/plans.py", "if count > call.scripts.keys:", "if False:"),
    Removal("REDIS.SCRIPT.BOUNDED", "host/redis/scripts/cache.py", "len(self._scripts) > COUNT_LIMIT or", ""),
    Removal("REDIS.SCRIPT.BOUNDED", "host/redis/scripts/cache.py", "or self._bytes > BYTES_LIMIT", ""),
    Removal("REDIS.SCRIPT.BOUNDED", "host/redis/scripts/sandbox.py", "max_memory=MEMORY_LIMIT,", ""),
    Removal("REDIS.SCRIPT.BOUNDED", "host/redis/scripts/prelude.lua", "over() finish()", 'over() error("ended", 0)'),
    Removal(
        "REDIS.SCRIPT.BOUNDED",
        "host/redis/scripts/process.py",
        "asyncio.timeout(self._seconds)",
        "asyncio.timeout(None)",
    ),
    Removal(
        "REDIS.SCRIPT.SANDBOXED",
        "host/redis/scripts/runs.py",
        "if not self._places.issuperset(plan.places):",
        "if False:",
    ),
    Removal(
        "REDIS.SCRIPT.SANDBOXED",
        "host/redis/scripts/process.py",
        'env={"PYTHONPATH":',
        'env=os.environ | {"PYTHONPATH":',
    ),
    Removal(
        "REDIS.SCRIPT.SANDBOXED", "host/redis/scripts/sandbox.py", 'if request[1].startswith(b"\\x1b"):', "if False:"
    ),
    Removal("REDIS.SCRIPT.SANDBOXED", "host/redis/scripts/sandbox.py", "(resource.RLIMIT_NOFILE, 0),", ""),
    Removal(
        "REDIS.SCRIPT.SANDBOXED",
        "host/redis/scripts/prelude.lua",
        "setfenv(chunk, environment)",
        "setfenv(chunk, setmetatable(names, {__index = _G}))",
    ),
    Removal("REDIS.SELECT.OBEYED", "host/redis/administration.py", "session.database = None", "pass"),
    Removal(
        "REDIS.WAIT.KEYLESS",
        "host/redis/scheduler.py",
        "                await self._turn()\n            finally",
        "                if len({place for plan in batch.plans for place in plan.places}) == 1:\n"
        "                    await self._turn()\n            finally",
    ),
]
