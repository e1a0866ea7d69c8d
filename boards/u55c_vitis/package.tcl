# Packages the Verilog of this folder as a kernel for Vitis. Written by `omap board build`; unverified with the tools.
#
#   vivado -mode batch -source package.tcl
#
# The root key gets into the kernel, and from there into every program linked with it: whoever has one has the key.

set here [file dirname [file normalize [info script]]]
set out [file join $here @out]

set key [file join $here @secret]
if {![file exists $key]} {
    error {@no_key}
}

create_project -force package [file join $out package] -part @part
add_files -norecurse [list [file join $here @top.v] [file join $here @noise.v] $key]
add_files -norecurse -fileset constrs_1 [list [file join $here @noise.xdc]]
# what it names is there after synthesis only
set_property USED_IN implementation [get_files @noise.xdc]
set_property PROCESSING_ORDER LATE [get_files @noise.xdc]
set_property top @top [current_fileset]
update_compile_order -fileset sources_1

set ip [file join $out ip]
set component [file join $ip component.xml]
ipx::package_project -root_dir $ip -vendor @vendor -library @library -taxonomy /KernelIP -import_files -set_current false
ipx::unload_core $component
ipx::edit_ip_in_project -upgrade true -name core -directory [file join $out core] $component
set core [ipx::current_core]
set_property core_revision 1 $core
set_property sdx_kernel true $core
set_property sdx_kernel_type rtl $core
set_property vitis_drc {ctrl_protocol ap_ctrl_hs} $core
set_property ipi_drc {ignore_freq_hz true} $core

# One clock and one reset for everything.
ipx::associate_bus_interfaces -clock @clock -reset @reset $core
ipx::associate_bus_interfaces -busif @control -clock @clock $core

# Memory ports: name, data bits, accesses under way at most.
foreach {name bits outstanding} {
@masters
} {
    ipx::associate_bus_interfaces -busif $name -clock @clock $core
    set bus [ipx::get_bus_interfaces -of_objects $core $name]
    set_property value $bits [ipx::add_bus_parameter DATA_WIDTH $bus]
    set_property value $outstanding [ipx::add_bus_parameter NUM_READ_OUTSTANDING $bus]
    set_property value $outstanding [ipx::add_bus_parameter NUM_WRITE_OUTSTANDING $bus]
}

# Control and arguments, in the order in which XRT passes them: name, offset, bits, memory port of a pointer. What is
# only read is no argument, so the other registers are not named here.
if {[llength [ipx::get_memory_maps -quiet @control -of_objects $core]] != 0} {
    # the one that the packager has thought of
    ipx::remove_memory_map @control $core
}
set map [ipx::add_memory_map @control $core]
set_property slave_memory_map_ref @control [ipx::get_bus_interfaces -of_objects $core @control]
set block [ipx::add_address_block reg0 $map]
set_property range @range $block
set_property width 32 $block
set_property usage register $block
foreach {name offset bits bus} {
@registers
} {
    set register [ipx::add_register $name $block]
    set_property address_offset $offset $register
    set_property size $bits $register
    if {$bus ne ""} {
        set_property value $bus [ipx::add_register_parameter ASSOCIATED_BUSIF $register]
    }
}

ipx::create_xgui_files $core
ipx::update_checksums $core
ipx::check_integrity -kernel $core
ipx::save_core $core
close_project -delete

package_xo -force -xo_path [file join $out @top.xo] -kernel_name @top -ip_directory $ip -ctrl_protocol ap_ctrl_hs
