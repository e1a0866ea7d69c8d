"""The sessions block and the reference side by side in restores, and in what follows them."""

from omap.operations import Status
from omap.sessions import DeviceSessions
from tests.support.rtl.journal_twin import JournalTwin
from tests.support.rtl.restore_histories import law_of
from tests.support.rtl.session_bench import BEAT_BYTES, number, packed


class RestoreTwin(JournalTwin):
    """A run of the block with a journal, with restores and what follows them.

    Attributes
    ----------
    law : Restore
        The reference's last restore.
    """

    law = None

    def format(self):
        self.ahead = 0
        self.bench.set("restore", 0)
        super().format()

    def restore(self, records, *, full=None, cuts=0):
        """Restore from records; return the answers of the reference. ``full`` says which operations are not OK.

        With ``cuts`` the records come a few at a time, up to so many of them.
        """
        self.begin_restore()
        self.law, fetched, answers, new_map = law_of(self.codec, self.root_key, records, full or {})
        self.answers += answers
        for kind, key, value in new_map.operations:
            self.commands.append(packed(self.command, {"kind": kind, "key": number(key), "value": number(value)}))
        first = len(self.replies)
        for place in range(len(new_map.operations)):
            fields = {
                "status": int(new_map.refused.get(place, Status.OK)),
                "found": self.rng.getrandbits(1),
                "value": self.rng.getrandbits(8 * self.params.value_bytes),
                "overruns": self.rng.getrandbits(32),
                "operation": place,
                "live": self.rng.getrandbits(10),
            }
            self.replies.append(packed(self.reply, fields))
        while fetched:
            lot = self.schedule.randint(1, cuts) if cuts else len(fetched)
            for one in fetched[:lot]:
                self.push(one.data, malformed=not one.fits)
            del fetched[:lot]
            for _ in range(self.schedule.randint(0, 40) if fetched else 0):
                self.step(self.schedule.randint(1, self.chunk))
        self._end_restore(first, new_map.refused)

    def kept(self, map_id):
        """Open a session that knows a map; return how much of it is kept, None if it is no ancestor."""
        client = self.client()
        client.opened(self.feed(client.confirm(self.feed(client.hello()), map_id)))
        return client.kept

    def begin_restore(self):
        """Format for a restore."""
        self.settle()
        self.ahead = 0
        self.bench.set("restore", 0)
        self.begin_format()
        self.bench.set("restore", 1)

    def _end_restore(self, first, refused, *, limit=400000):
        """Run until all is answered, and compare; commands behind the record at fault may run, or may not."""
        for _ in self.turns(limit):
            if self.bench.get("restored") and not self.bench.get("begin"):
                last = sum(map(len, self.answers[:-1])) // BEAT_BYTES
                self.step(300)
                assert len(self.got_beats) == last  # the answer to END waits for the journal
                self.begin_journal(self.law.lineage, self.law.operation)
        assert self.got_answers() == self.answers
        assert (self.bench.get("restored"), self.bench.get("failed")) == (self.law.complete, self.law.failed)
        if refused:
            needed = min(first + min(refused) + 1, len(self.commands))
            assert needed <= len(self.got_commands) <= len(self.commands)
            del self.commands[len(self.got_commands) :], self.replies[len(self.got_commands) :]
        assert self.got_commands == self.commands
        if self.law.complete:
            self.bench.set("restore", 0)
            self.ahead = self.law.operation - (len(self.commands) - first)
            self.model = DeviceSessions(self.params, self.root_key, nonce=self.fresh.nonce, lineage=self.law.lineage)
