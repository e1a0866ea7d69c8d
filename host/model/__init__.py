"""A program that stands for the card: it holds the root key, as a card does."""
