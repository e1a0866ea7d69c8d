"""The table of derivations: what is derived is what its label, its context and its length say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omap.errors import InputError
from omap.kdf import DERIVATIONS, derive

KEY = bytes(range(32))


@given(use=st.sampled_from(DERIVATIONS), data=st.data())
def test_what_is_derived_follows_from_label_context_and_length(use, data):
    parts = [data.draw(st.binary(min_size=size, max_size=size)) for size in use.context.values()]
    assert use.derive(KEY, *parts) == derive(KEY, use.label, b"".join(parts), use.length)
    assert use.fixed_bytes == len(use.label + b"\0" + b"".join(parts)) + 4


@given(use=st.sampled_from(DERIVATIONS), sizes=st.lists(st.integers(0, 40), max_size=6))
def test_a_context_of_other_lengths_is_refused(use, sizes):
    if sizes == list(use.context.values()):
        return
    with pytest.raises(InputError, match=f"the context of '{use.label.decode()}' has parts of"):
        use.derive(KEY, *map(bytes, sizes))
