# How the card loads the bitstream, and what stays open afterwards. Flash as in public constraints for this card;
# properties as in AMD UG908. Unverified on a card.
set_property CFGBVS GND [current_design]
set_property CONFIG_VOLTAGE 1.8 [current_design]
set_property CONFIG_MODE @interface [current_design]
set_property BITSTREAM.CONFIG.SPI_BUSWIDTH @lanes [current_design]
set_property BITSTREAM.CONFIG.SPI_32BIT_ADDR YES [current_design]
set_property BITSTREAM.CONFIG.SPI_FALL_EDGE YES [current_design]
set_property BITSTREAM.CONFIG.CONFIGRATE 85.0 [current_design]
set_property BITSTREAM.CONFIG.EXTMASTERCCLK_EN DISABLE [current_design]
set_property BITSTREAM.CONFIG.UNUSEDPIN PULLUP [current_design]
set_property BITSTREAM.CONFIG.OVERTEMPSHUTDOWN ENABLE [current_design]

# Nothing else is loaded if this fails, and nothing is read back or loaded over it.
set_property BITSTREAM.CONFIG.CONFIGFALLBACK DISABLE [current_design]
set_property BITSTREAM.CONFIG.PERSIST NO [current_design]
set_property BITSTREAM.READBACK.ACTIVERECONFIG NO [current_design]
set_property BITSTREAM.READBACK.SECURITY LEVEL2 [current_design]
set_property BITSTREAM.GENERAL.JTAG_SYSMON DISABLE [current_design]
set_property BITSTREAM.GENERAL.DISABLE_JTAG YES [current_design]
