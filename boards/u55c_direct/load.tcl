# Loads the bitstream into the card through JTAG, until its power goes. Written by `omap board build`; unverified.
#
#   vivado -mode batch -source load.tcl
#
# Restart the host afterwards without switching its power off, so that it finds the card anew.

set here [file dirname [file normalize [info script]]]
set bitstream [file join $here @out @top.bit]
if {![file exists $bitstream]} {
    error {there is no bitstream: run build.tcl before}
}
@open_card
set_property PROGRAM.FILE $bitstream $card
program_hw_devices $card
close_hw_manager
