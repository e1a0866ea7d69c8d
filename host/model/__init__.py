"""The model, a program that stands for the card. It holds the root key, as a card does."""
