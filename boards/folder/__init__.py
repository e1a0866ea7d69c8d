"""Build folders: what stands in one, how it is written, and the steps from it to a card."""
