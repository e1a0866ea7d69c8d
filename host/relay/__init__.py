"""The relay between clients and a device: untrusted, it moves sealed records and holds no key."""
