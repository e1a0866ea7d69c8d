"""What somebody would do who saves a map as it is: its pages, HBM and all, to go on from there after a crash."""

from collections import deque

from omap.map import PagedMap


class Checkpoint:
    """The state of a map at one moment, all but its secrets and draws."""

    def __init__(self, made: PagedMap) -> None:
        self.pages = bytes(made.host.data)
        self.regions = {name: bytes(region.data) for name, region in made.device.regions.items()}
        self.transit, self.victim = list(made.position_map.transit), made.position_map.victim
        self.free = made.waiting.free_slots.free, made.waiting.free_lines.free
        self.live = made._live

    def give_back(self, made: PagedMap) -> None:
        """Put a map back into this state. It numbers its operations on, so that no version comes twice."""
        made.host.data[:] = self.pages
        for name, data in self.regions.items():
            made.device.regions[name].data[:] = data
        made.position_map.transit, made.position_map.victim = deque(self.transit), self.victim
        made.waiting.free_slots.free, made.waiting.free_lines.free = self.free
        made._live = self.live
