# Writes the bitstream into the flash from which the card boots. Written by `omap board build`; unverified.
#
#   vivado -mode batch -source flash.tcl
#
# Through JTAG and a design of the tools in the FPGA, so what the card runs is lost, and a card whose fuses want encrypted
# bitstreams alone can't do it. Switch the host's power off and on afterwards. Commands as in AMD UG835 and UG908.

set here [file dirname [file normalize [info script]]]
set image [file join $here @out @top.mcs]
if {![file exists $image]} {
    error {there is no image for the flash: run build.tcl before}
}
@open_card

set parts [get_cfgmem_parts @part]
if {[llength $parts] == 0} {
    error {these tools do not know the flash of the card, @part}
}
create_hw_cfgmem -hw_device $card [lindex $parts 0]
set flash [get_property PROGRAM.HW_CFGMEM $card]
set_property PROGRAM.FILES [list $image] $flash
# only what the image covers: the factory's image lies below
set_property PROGRAM.ADDRESS_RANGE use_file $flash
set_property PROGRAM.UNUSED_PIN_TERMINATION pull-none $flash
set_property PROGRAM.BLANK_CHECK 0 $flash
set_property PROGRAM.ERASE 1 $flash
set_property PROGRAM.CFG_PROGRAM 1 $flash
set_property PROGRAM.VERIFY 1 $flash
set_property PROGRAM.CHECKSUM 0 $flash

create_hw_bitstream -hw_device $card [get_property PROGRAM.HW_CFGMEM_BITFILE $card]
program_hw_devices $card
refresh_hw_device $card
program_hw_cfgmem $flash
# our bitstream closes JTAG: that it runs may not be seen from here
boot_hw_device -disable_done_check $card
close_hw_manager
