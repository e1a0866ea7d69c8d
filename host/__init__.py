"""The host side: drivers, client, relay and proxies around the accelerator."""
