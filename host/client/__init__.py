"""The client. It is trusted, because it holds a key; it never imports the relay or a driver."""
