"""The host side: clients, Redis proxy, relay, and drivers for cards and for the program that stands for a card.

The folders show who is trusted. A layer imports from its own folder and from lower layers, as far as this table says:

====  ========================  =============================  =============================================
layer modules                   imports                        trusted
====  ========================  =============================  =============================================
1     those in ``host`` itself  ``omap`` alone                 both sides use them; ``keyfile`` handles keys
2     ``client``                layer 1                        yes: it holds a key and sees keys and values
2     ``device``                layer 1 without ``keyfile``    no: it moves sealed records
3     ``redis``                 layer 1, ``client``            yes: it holds a key and sees keys and values
3     ``relay``                 layer 1 without ``keyfile``,   no: it moves sealed records
                                ``device``
3     ``model``                 layer 1, ``device.transport``  it stands for the card and holds the root key
4     ``commands``              all of the above               as the parts that a command starts
5     ``benchmark``, ``testing`` all of the above              they start both sides
====  ========================  =============================  =============================================

No trusted module imports an untrusted one, or the other way round: ``client`` and ``redis`` on the one side, ``relay``
and ``device`` on the other, have only layer 1 in common.
"""
