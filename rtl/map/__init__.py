"""The oblivious map itself: where keys lie, what waits, how a page is opened, merged and sealed, and when."""
