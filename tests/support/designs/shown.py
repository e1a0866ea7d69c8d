"""What a rig shows of a part inside."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In


def show(m, rig, part, names):
    """Join members of a part with those that its rig has under the same names: single streams, or signals."""
    for name in names:
        ours, inner, member = getattr(rig, name), getattr(part, name), part.signature.members[name]
        if member.is_signature:
            wiring.connect(m, wiring.flipped(ours), inner)
        else:
            m.d.comb += inner.eq(ours) if member.flow is In else ours.eq(inner)
