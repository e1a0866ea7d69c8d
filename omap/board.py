"""Facts about the cards that the accelerator is made for: parts, HBM, PCIe, clocks, pins, resources.

All of them come from documents and from the constraints of other projects. This project has checked none of them on a
card. If a source is weak, the text says "unverified"; a value without a source is None.
"""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30
MHZ = 1_000_000

DIRECT_DEVICE = 0x903F
"""PCIe device id of a card that runs the direct target: the default of AMD's XDMA block for Gen3 x16 (see the ids in
AMD's driver, dma_ip_drivers). Other designs have this id too; the register IDENTITY says what a card is."""

LINK_RATES = {1: 2.5, 2: 5.0, 3: 8.0, 4: 16.0}
"""Transfers of a lane in GT/s, by PCIe generation."""


@dataclass(frozen=True, kw_only=True)
class Pins:
    """Package pins of a design without the shell. A pair has the positive pin first.

    Sources: the constraints of Corundum and OpenNIC for each card (pcie_refclk, perst, cattrip), and those named below.

    Parameters
    ----------
    pcie_refclk : (str, str)
        Reference clock of all sixteen lanes, MGTREFCLK0 of quad 225.
    perst : str
        PERST# from the slot, LVCMOS18, active low.
    hbm_refclk : (str, str)
        A clock of the board that can be the reference clock of HBM, LVDS. U55C: SYSCLK2, AR72926. U280: SYSCLK0, which
        public HBM designs use; unverified. U50: SYSCLK3 of Corundum's constraints; whether HBM can use it is
        unverified.
    cattrip : str
        HBM_CATTRIP, LVCMOS18, output. A high level turns the card off, so drive it from the HBM block, or low.
    """

    pcie_refclk: tuple[str, str]
    perst: str
    hbm_refclk: tuple[str, str]
    cattrip: str


@dataclass(frozen=True, kw_only=True)
class Flash:
    """The flash from which a card configures itself.

    Sources: Corundum's makefiles write the flash of U50, U55N and U280 so (all fields). Public scripts for the device
    xcu280_u55c do the same on the U55C (part, size, start). Unverified on a card.

    Parameters
    ----------
    part : str
        Vivado's name of the flash.
    lanes : int
        Number of data lines.
    mebibytes : int
        Size in MiB; 128 of them are a gigabit.
    start : int
        Address of the user's image, in bytes. The factory's image lies below it and is write-protected (AMD UG1289, of
        U200 and U250). It goes on to the image at this address, if there is one (corundum#248).
    """

    part: str
    lanes: int
    mebibytes: int
    start: int

    @property
    def interface(self) -> str:
        """Vivado's name of the connection."""
        return f"SPIx{self.lanes}"


ALVEO_FLASH = Flash(part="mt25qu01g-spi-x1_x2_x4", lanes=4, mebibytes=128, start=0x0100_2000)
"""Flash of all cards in :data:`BOARDS`."""


@dataclass(frozen=True, kw_only=True)
class Board:
    """One kind of card.

    Parameters
    ----------
    name : str
        Name in commands and folders.
    part, board_part : str
        Vivado's names of device and card. U55C, U50: OpenNIC's board settings; U280: public projects.
    platform : str
        Vitis' name of the shell that the accelerator is built for (AMD UG1120; U280: public projects).
    hbm_stacks : int
        Stacks of HBM in the package (AMD UG1393).
    pseudo_channels : int
        Pseudo-channels of both stacks, each with an AXI port (AMD PG276, UG1120).
    channel_bits : int
        Address bits within one pseudo-channel: 29 for 512 MB, 28 for 256 MB (AMD UG1393). The bits above them are the
        number of the pseudo-channel.
    slrs : int
        Super logic regions (AMD UG1120). HBM and PCIe are in SLR0 (AMD UG949; U50, U280: unverified).
    pcie_generation, pcie_lanes : int
        Link that the shell uses (AMD UG1120): Gen3 x16.
    pci_vendor, pci_management, pci_user : int
        Vendor id, and device ids of the shell's two functions (XRT's devices.h).
    pcie_refclk_hz, hbm_refclk_hz : int
        Frequencies of the reference clocks, in hertz (constraints as for :class:`Pins`).
    pins : Pins
        Package pins of a design without the shell.
    flash : Flash
        Flash that the card boots from.
    host_window_bytes : int, optional
        Most host memory that a kernel reaches through HOST[0], in bytes. U55C: unverified; others: no source.
    lut, ff, bram, uram, dsp : int
        LUTs, flip-flops, block RAMs of 36 kbit, UltraRAMs and DSP slices of the device, shell included (U55C: AMD
        DS978; U280: the same die, unverified; U50: public build scripts, unverified).
    """

    name: str
    part: str
    board_part: str
    platform: str
    hbm_stacks: int
    pseudo_channels: int
    channel_bits: int
    slrs: int
    pcie_generation: int
    pcie_lanes: int
    pci_vendor: int
    pci_management: int
    pci_user: int
    pcie_refclk_hz: int
    hbm_refclk_hz: int
    pins: Pins
    flash: Flash
    host_window_bytes: int | None
    lut: int
    ff: int
    bram: int
    uram: int
    dsp: int

    @property
    def channel_bytes(self) -> int:
        """Bytes of one pseudo-channel."""
        return 1 << self.channel_bits

    @property
    def hbm_bytes(self) -> int:
        """Bytes of HBM."""
        return self.pseudo_channels * self.channel_bytes

    def window_holds(self, size: int) -> bool | None:
        """Return whether a kernel under the shell reaches a buffer of ``size`` bytes; None if that is not known."""
        return None if self.host_window_bytes is None else size <= self.host_window_bytes


BOARDS = {
    board.name: board
    for board in (
        Board(
            name="u55c",
            part="xcu55c-fsvh2892-2L-e",
            board_part="xilinx.com:au55c:part0:1.0",
            platform="xilinx_u55c_gen3x16_xdma_3_202210_1",
            hbm_stacks=2,
            pseudo_channels=32,
            channel_bits=29,
            slrs=3,
            pcie_generation=3,
            pcie_lanes=16,
            pci_vendor=0x10EE,
            pci_management=0x505C,
            pci_user=0x505D,
            pcie_refclk_hz=100 * MHZ,
            hbm_refclk_hz=100 * MHZ,
            pins=Pins(pcie_refclk=("AR15", "AR14"), perst="BF41", hbm_refclk=("BK10", "BL10"), cattrip="BE45"),
            flash=ALVEO_FLASH,
            host_window_bytes=16 * GIB,
            lut=1_303_680,
            ff=2_607_360,
            bram=2016,
            uram=960,
            dsp=9024,
        ),
        Board(
            name="u280",
            part="xcu280-fsvh2892-2L-e",
            board_part="xilinx.com:au280:part0:1.1",
            platform="xilinx_u280_gen3x16_xdma_1_202211_1",
            hbm_stacks=2,
            pseudo_channels=32,
            channel_bits=28,
            slrs=3,
            pcie_generation=3,
            pcie_lanes=16,
            pci_vendor=0x10EE,
            pci_management=0x500C,
            pci_user=0x500D,
            pcie_refclk_hz=100 * MHZ,
            hbm_refclk_hz=100 * MHZ,
            pins=Pins(pcie_refclk=("AR15", "AR14"), perst="BH26", hbm_refclk=("BJ43", "BJ44"), cattrip="D32"),
            flash=ALVEO_FLASH,
            host_window_bytes=None,
            lut=1_303_680,
            ff=2_607_360,
            bram=2016,
            uram=960,
            dsp=9024,
        ),
        Board(
            name="u50",
            part="xcu50-fsvh2104-2-e",
            board_part="xilinx.com:au50:part0:1.3",
            platform="xilinx_u50_gen3x16_xdma_5_202210_1",
            hbm_stacks=2,
            pseudo_channels=32,
            channel_bits=28,
            slrs=2,
            pcie_generation=3,
            pcie_lanes=16,
            pci_vendor=0x10EE,
            pci_management=0x5020,
            pci_user=0x5021,
            pcie_refclk_hz=100 * MHZ,
            hbm_refclk_hz=100 * MHZ,
            pins=Pins(pcie_refclk=("AF9", "AF8"), perst="AW27", hbm_refclk=("BB18", "BC18"), cattrip="J18"),
            flash=ALVEO_FLASH,
            host_window_bytes=None,
            lut=871_680,
            ff=1_743_360,
            bram=1344,
            uram=640,
            dsp=5952,
        ),
    )
}
"""The cards, by name."""
