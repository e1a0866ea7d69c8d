"""The simulated accelerator as a device: back end, transport and runs of the engine."""
