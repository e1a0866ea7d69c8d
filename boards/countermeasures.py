"""Countermeasures of the boards: label and what it promises; see :mod:`rtl.countermeasures`."""

COUNTERMEASURES = {
    "HBM.START.CLEARED": "The engine reaches HBM only when every byte of its channels was overwritten with zeros.",
    "ENTROPY.HEALTH.TESTED": "No random word is given before the noise was tested, and none once a test failed.",
    "BUILD.KEY.OWNER": "The root key in a build folder is in one file, which its owner alone can read.",
    "BUILD.OUT.OWNER": "What the tools make, root key included, is in a folder that its owner alone can enter.",
    "BUILD.KEY.KEPT": "A build never replaces or drops a root key that stands in its folder.",
    "BUILD.HBM.PROVEN": "A folder passes its check only if in its Verilog HBM and host meet through the map alone.",
    "BUILD.NOISE.RINGS": "A folder passes its check only if what is synthesised takes its noise from ring oscillators.",
    "BUILD.CORES.CLOSED": "The vendor's cores have no port to debug or to load, and HBM no control or open AXI port.",
    "BUILD.BITSTREAM.SEALED": "A bitstream is encrypted under a key from outside its folder, unless built as plain.",
    "BUILD.DESIGN.CLOSED": "A design with a debug core or a way to configuration or JTAG makes no bitstream.",
    "BOARD.HBM.UNREACHABLE": "No path leads from the register BAR to an HBM port, or from HBM's data to the BAR.",
    "BOARD.HBM.CLEARED": "While HBM is not cleared the engine is in reset, and its registers can't be reached.",
    "BOARD.ENTROPY.CHECKED": "Noise that fails its tests makes the engine erase its keys and stop.",
}
