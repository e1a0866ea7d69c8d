"""Which channel an item lies in and where there, as logic: :class:`omap.sizing.channels.Layout` in gates."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Value

from omap.sizing.channels import Layout


class Places:
    """Finds the channels of one layout's items.

    The lowest bits of an item's number are its turn in its group. Groups begin at multiples of a large power of two, so
    a few of the highest bits decide which group it is, and what is subtracted from them.

    Parameters
    ----------
    layout : Layout
        The layout.

    Attributes
    ----------
    channel_bits : int
        Width of a channel's number; 0 if there is one.
    row_bits : int
        Width of an item's number in its channel.
    """

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.channel_bits = (layout.channels - 1).bit_length()
        self.row_bits = max(1, (min(layout.rows, layout.per_group) - 1).bit_length())
        self._plain_bits = (layout.per_group & -layout.per_group).bit_length() - 1
        self._unit = layout.per_group >> self._plain_bits

    def chosen(self, item: Value) -> Value:
        """Return a bit for each channel: whether ``item`` lies there."""
        spread = self.layout.spread
        turns = [item[:spread] == turn if spread else Const(1, 1) for turn in range(1 << spread)]
        return Cat(group & turn for group in self._groups(item) for turn in turns)

    def channel(self, item: Value) -> Value:
        """Return the number of the channel that ``item`` lies in."""
        groups = self._groups(item)
        bits = range((len(groups) - 1).bit_length())
        return Cat(
            item[: self.layout.spread],
            *(Cat(group for k, group in enumerate(groups) if k >> bit & 1).any() for bit in bits),
        )

    def row(self, item: Value, channel: int) -> Value:
        """Return the number of ``item`` in ``channel``, provided that it lies there."""
        row, group = item[self.layout.spread :], channel >> self.layout.spread
        upper = row[self._plain_bits :] - group * self._unit if group else row[self._plain_bits :]
        return Cat(row[: self._plain_bits], upper)[: self.row_bits]

    def _groups(self, item: Value) -> list[Value]:
        """Return a bit for each group: whether ``item`` lies there."""
        upper = item[self.layout.spread + self._plain_bits :]
        if self._unit == 1 and self.layout.groups > 1:
            return [upper == group for group in range(self.layout.groups)]
        begun = [Const(1, 1), *(upper >= group * self._unit for group in range(1, self.layout.groups)), Const(0, 1)]
        return [begun[group] & ~begun[group + 1] for group in range(self.layout.groups)]
