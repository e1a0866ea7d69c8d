"""Keys that connections watch, to give up a transaction if one of them was changed."""

from __future__ import annotations

from collections.abc import Collection

from host.redis.places import Place


class Watch:
    """What one connection watches.

    Attributes
    ----------
    places : set of Place
        The watched keys.
    gone : set of Place
        Those of them whose time had passed already, so that their deletion is no change.
    broken : bool
        Whether a watched key was changed.
    """

    def __init__(self) -> None:
        self.places: set[Place] = set()
        self.gone: set[Place] = set()
        self.broken = False


class Watches:
    """Who watches which keys. Changes by other clients than the proxy are not seen."""

    def __init__(self) -> None:
        self._watching: dict[Place, set[Watch]] = {}

    def __len__(self) -> int:
        """Return how many keys are watched."""
        return len(self._watching)

    def add(self, watch: Watch, place: Place, *, is_gone: bool = False) -> None:
        """Watch one more key."""
        if is_gone and place not in watch.places:
            watch.gone.add(place)
        watch.places.add(place)
        self._watching.setdefault(place, set()).add(watch)

    def remove(self, watch: Watch) -> None:
        """Watch nothing any more."""
        for place in watch.places:
            others = self._watching[place]
            others.discard(watch)
            if not others:
                del self._watching[place]
        watch.places.clear()
        watch.gone.clear()
        watch.broken = False

    def touch(self, place: Place) -> None:
        """Take note of a change."""
        if self._watching:
            for watch in self._watching.get(place, ()):
                watch.broken = True

    def touch_expired(self, place: Place) -> None:
        """Take note that the time of a key has passed."""
        for watch in self._watching.get(place, ()):
            watch.broken |= place not in watch.gone

    def touch_databases(self, databases: Collection[int]) -> None:
        """Take note that databases were emptied."""
        for place, watching in self._watching.items():
            if place[0] in databases:
                for watch in watching:
                    watch.broken = True
