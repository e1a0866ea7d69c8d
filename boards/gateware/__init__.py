"""What a card needs around the engine: entropy, root key, register bus, zeroed HBM."""
