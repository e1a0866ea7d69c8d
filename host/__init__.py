"""The host side: clients, Redis proxy, relay, and drivers for cards and for the model that stands for a card.

The folders show who is trusted. A module imports from its own folder, and from lower layers as far as this table says:

=====  =============================  ==========================================  ==================================
layer  modules                        import                                      trusted
=====  =============================  ==========================================  ==================================
1      those in ``host`` itself       ``omap`` alone                              both sides use them
2      ``client``                     layer 1                                     yes: it sees keys and values
2      ``device``                     layer 1 without ``keyfile``                 no: it moves sealed records
2      ``data``                       layer 1 without ``keyfile``                 no: it keeps sealed records
3      ``redis``                      layer 1, ``client``                         yes: it sees keys and values
3      ``relay``                      ``device``, ``data``, layer 1 as they do    no: it moves sealed records
3      ``model``                      layer 1, ``device.transport``               as the card for which it stands
4      ``commands``                   layers 1 to 3                               as what a command starts
4      ``measuring``                  layers 1 to 3                               it starts both sides
5      ``benchmark``, ``testing``     layers 1 to 4                               they start both sides
=====  =============================  ==========================================  ==================================

No trusted folder imports an untrusted one, or the other way round: ``client`` and ``redis`` on the one side, ``relay``,
``device`` and ``data`` on the other, have only layer 1 in common.
"""
