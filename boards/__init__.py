"""Boards: what turns the accelerator into a program for a card.

Layers, from the bottom up. A module imports from its own layer and from those above it in this list, and from no other:

1. ``gateware``: our logic around the engine; ``tcl``: recorders of the vendor's tools; ``countermeasures``.
2. ``target``: what a target is, and a plan.
3. ``folder``: writes a build folder, and runs its steps.
4. ``check``: checks a build folder.
5. A folder for each target, under the target's name. These folders do not import each other.
6. ``targets``: the list of targets, the one place outside their folders that names them.
7. ``report``: what the tops cost.
8. ``commands``: ``omap board``.

``gateware`` and ``tcl`` do not import each other, and no two modules import each other in a circle.
"""
