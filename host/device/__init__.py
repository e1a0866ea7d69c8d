"""The driver and its transports. They are untrusted: they move sealed records and hold no key."""
