# Makes the bitstream from this folder. Written by `omap board build`; unverified with the tools.
#
#   vivado -mode batch -source build.tcl
#
# The project is in memory, and no checkpoint is written: either would hold the root key in the clear.

set here [file dirname [file normalize [info script]]]
set out [file join $here @out]
set part @part
set plain @plain
set attested @attested

set secret [file join $here @secret]
if {![file exists $secret]} {
    error {@no_key}
}

# The key of the bitstream is not the root key: it is the one in the card's fuses, and must not lie beside what it seals.
set bitstream_key ""
if {!$plain} {
    if {![info exists ::env(@environment)]} {
        error {@environment is not set: it names the .nky file with the key in the fuses of the card, outside this folder. For a bitstream that anybody can read and change, build the folder with --plain}
    }
    set bitstream_key [file normalize $::env(@environment)]
    if {![file exists $bitstream_key]} {
        error "there is no file $bitstream_key, which @environment names"
    }
    if {[string first $here/ $bitstream_key] == 0} {
        error {the key of the bitstream lies in this folder, beside what it is to protect: move it elsewhere}
    }
} elseif {$attested} {
    error {the card would claim to boot encrypted bitstreams alone, and this one is plain: build the folder again}
}

create_project -in_memory -part $part

# Cores: name in the design, name and version in the catalogue, parameters. A build that stopped may have left some.
file mkdir [file join $out ip]
foreach {name core version settings} {
@cores
} {
    create_ip -force -name $core -vendor xilinx.com -library ip -version $version -module_name $name -dir [file join $out ip]
    set_property -dict $settings [get_ips $name]
    generate_target all [get_ips $name]
    synth_ip [get_ips $name]
}

# Ports of a core that are wider or narrower than those expected. From here on: inside AMD's cores that is AMD's affair.
set_msg_config -id {Synth 8-689} -new_severity ERROR

read_verilog [list [file join $here @top.v] [file join $here @noise.v] $secret]
read_xdc [file join $here pins.xdc]
read_xdc [file join $here config.xdc]
synth_design -top @top -part $part -flatten_hierarchy rebuilt
# these name what the synthesis has made
read_xdc [file join $here @noise.xdc]
read_xdc [file join $here implementation.xdc]
opt_design
place_design
phys_opt_design
route_design

report_utilization -hierarchical -file [file join $out utilization.txt]
report_timing_summary -file [file join $out timing.txt]
report_drc -file [file join $out drc.txt]
report_power -file [file join $out power.txt]

foreach {what delay} {set-up max hold min} {
    set paths [get_timing_paths -delay_type $delay -max_paths 1]
    if {[llength $paths] == 0} {
        error "no path is timed for $what: the clocks are not constrained"
    }
    set slack [get_property SLACK [lindex $paths 0]]
    if {$slack < 0} {
        error "the design is too slow: $what fails by [expr {-$slack}] ns, see timing.txt"
    }
}

# Ways in that a bitstream could leave open.
if {[llength [get_debug_cores -quiet]] != 0} {
    error {there are debug cores in the design}
}
foreach primitive {@forbidden} {
    if {[llength [get_cells -quiet -hierarchical -filter "REF_NAME == $primitive"]] != 0} {
        error "there is a $primitive in the design: it leads to configuration or debugging"
    }
}
set blocks [get_cells -quiet -hierarchical -filter {REF_NAME == @pcie_primitive}]
if {[llength $blocks] != 1} {
    error "one @pcie_primitive was expected, there are [llength $blocks]"
}
set mcap [get_property MCAP_ENABLE [lindex $blocks 0]]
if {$mcap ne "FALSE"} {
    error "MCAP_ENABLE is $mcap: the card could be configured over PCIe"
}

if {!$plain} {
    set_property BITSTREAM.ENCRYPTION.ENCRYPT YES [current_design]
    set_property BITSTREAM.ENCRYPTION.ENCRYPTKEYSELECT eFUSE [current_design]
    set_property BITSTREAM.ENCRYPTION.KEYFILE $bitstream_key [current_design]
}
write_bitstream -force [file join $out @top.bit]
# the same for the flash, behind the factory's image
write_cfgmem -force -format mcs -size @mebibytes -interface @interface -loadbit [list up @start [file join $out @top.bit]] \
    [file join $out @top.mcs]
