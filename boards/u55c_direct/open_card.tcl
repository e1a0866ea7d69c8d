open_hw_manager
connect_hw_server
open_hw_target
set devices [get_hw_devices]
if {[llength $devices] != 1} {
    error "one card was expected on JTAG, there are [llength $devices]: $devices"
}
set card [lindex $devices 0]
current_hw_device $card
