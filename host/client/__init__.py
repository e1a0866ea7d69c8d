"""The client: trusted, because it holds a key. It never imports the relay or a driver."""
