# amaranth: UnusedElaboratable=no
"""The items of a journal: what the commands of a record changed."""

from __future__ import annotations

from amaranth.hdl import Const, Mux, Value
from amaranth.lib.data import View

from omap.operations import Kind, Status
from omap.params import Params
from rtl.rings.record import command_layout, effect_item
from rtl.rings.record_replies import RecordReplies


class JournalItems(RecordReplies):
    """Gathers what the commands of one record after the other changed, as :func:`omap.journal.effects` says.

    Parameters
    ----------
    params : Params
        The map.

    Members
    -------
    i_given : In(stream.Signature(command_layout(params)))
        Each command, as it ran.
    i_expected, i_reply, complete, o_preamble, o_items
        As :class:`rtl.rings.record_replies.RecordReplies` has them.

    Countermeasures
    ---------------
    JOURNALS.EFFECTS.UNIFORM
        Each operation has its item.
    """

    def __init__(self, params: Params) -> None:
        self.given = command_layout(params)
        super().__init__(params)

    def _tell(self, reply: View) -> tuple[Value, dict[str, Value]]:
        given = self.i_given.p
        puts = given.kind == Kind.PUT
        # SEC_CM: JOURNALS.EFFECTS.UNIFORM -- an item for each operation, whatever it is and whatever it found
        changed = (puts | (given.kind == Kind.DELETE)) & (reply.status == Status.OK)
        item = effect_item(
            self.params,
            kind=Mux(changed, given.kind, Kind.NOP),
            key=Mux(changed, given.key, 0),
            value=Mux(changed & puts, given.value, 0),
        )
        return item, {"overruns": Const(0), "live": Const(0)}
