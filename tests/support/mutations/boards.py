"""Removals of the countermeasures of ``boards``."""

from tests.support.mutations.removal import Removal

REMOVALS = [
    Removal("HBM.START.CLEARED", "boards/gateware/clear.py", "released.eq(self.release)", "released.eq(1)"),
    Removal(
        "ENTROPY.HEALTH.TESTED",
        "boards/gateware/entropy.py",
        "[self.failed.eq(1), self.o.valid.eq(0), self.o.p.eq(0)]",
        "self.failed.eq(1)",
    ),
    Removal(
        "ENTROPY.HEALTH.TESTED",
        "boards/gateware/entropy.py",
        "with m.If(tested_before & ~self.o.valid):",
        "with m.If(~self.o.valid):",
    ),
    Removal(
        "BUILD.KEY.OWNER",
        "boards/folder/disk.py",
        "os.fchmod(descriptor, 0o600)  # whatever the umask has taken away",
        "os.fchmod(descriptor, 0o644)",
    ),
    Removal("BUILD.KEY.OWNER", "boards/folder/disk.py", "path.parent.mkdir(mode=0o700)", "path.parent.mkdir()"),
    Removal("BUILD.KEY.OWNER", "boards/check/checks.py", "if mode & (stat.S_IRWXG | stat.S_IRWXO):", "if False:"),
    Removal("BUILD.OUT.OWNER", "boards/folder/tools.py", "out.chmod(0o700)", "pass"),
    Removal("BUILD.OUT.OWNER", "boards/folder/steps.py", "install -d -m 700", "install -d -m 755"),
    Removal("BUILD.KEY.KEPT", "boards/folder/disk.py", "if secret is not None and kept != secret:", "if False:"),
    Removal(
        "BUILD.HBM.PROVEN",
        "boards/check/checks.py",
        "return folder.plan.target.path_problems(folder.top, folder.plan)",
        "return []",
    ),
    Removal(
        "BUILD.NOISE.RINGS", "boards/check/checks.py", "yield from noise.problems(folder.text(entropy.FILE))", "pass"
    ),
    Removal(
        "BUILD.NOISE.RINGS",
        "boards/check/checks.py",
        "if name != entropy.FILE and noise.SIMULATOR in folder.text(name):",
        "if False:",
    ),
    Removal(
        "BUILD.CORES.CLOSED",
        "boards/u55c_direct/cores.py",
        "return settings | CLOSED[PCIE_CORE[0]]",
        "return settings",
        error="KeyError",
    ),
    Removal(
        "BUILD.CORES.CLOSED",
        "boards/u55c_direct/cores.py",
        '"USER_XSDB_INTF_EN": "FALSE"',
        '"USER_XSDB_INTF_EN": "TRUE"',
    ),
    Removal("BUILD.BITSTREAM.SEALED", "boards/u55c_direct/files.py", "plain=int(not plan.encrypted)", "plain=1"),
    Removal(
        "BUILD.BITSTREAM.SEALED",
        "boards/u55c_direct/build.tcl",
        "set_property BITSTREAM.ENCRYPTION.ENCRYPT YES",
        "set_property BITSTREAM.ENCRYPTION.ENCRYPT NO",
    ),
    Removal("BUILD.DESIGN.CLOSED", "boards/u55c_direct/files.py", 'forbidden=" ".join(FORBIDDEN)', 'forbidden=""'),
    Removal(
        "BUILD.DESIGN.CLOSED",
        "boards/u55c_direct/build.tcl",
        "if {[llength [get_debug_cores -quiet]] != 0} {",
        "if {0} {",
    ),
    Removal(
        "BOARD.HBM.UNREACHABLE",
        "boards/u55c_direct/top.py",
        "clear.start.eq(up)",
        "clear.start.eq(up | gate.s_axi.arvalid)",
    ),
    Removal(
        "BOARD.HBM.CLEARED",
        "boards/u55c_direct/top.py",
        "engine_reset.eq(~clear.done | clear.error)",
        "engine_reset.eq(0)",
    ),
    Removal(
        "BOARD.ENTROPY.CHECKED", "boards/gateware/core.py", "engine.broken.eq(entropy.failed)", "engine.broken.eq(0)"
    ),
]
