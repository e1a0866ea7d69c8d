"""The driver and its ways to a card: untrusted, they move sealed records and hold no key."""
