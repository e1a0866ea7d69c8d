"""The relay between clients and a device. It is untrusted: it moves sealed records and holds no key."""
