"""The reference map and its trace: a GET that finds its key looks like one that does not.

You learn how to make a map, how to record what the host sees, and what the columns of a trace mean.
Run it with `python examples/reference_trace.py`.
"""

import omap

SHOWN = 6


def main() -> None:
    """Run a few operations; print each beside what the host saw of it."""
    params = omap.preset("SMALL")  # keys and values of 8 bytes, pages of 128
    observer = omap.Observer()
    table = omap.create(params, observer=observer)
    observer.clear()  # forget the format that empties the pages

    steps = [
        ("PUT of a new key", lambda: table.put(b"airport1", b"Heathrow")),
        ("PUT of the same key", lambda: table.put(b"airport1", b"Gatwick ")),
        ("GET that finds it", lambda: table.get(b"airport1")),
        ("the same GET again", lambda: table.get(b"airport1")),
        ("GET of an absent key", lambda: table.get(b"nowhere!")),
        ("DELETE", lambda: table.delete(b"airport1")),
    ]
    for _, step in steps:
        step()

    trace = observer.trace()
    print(f"{'operation':<22} what the host saw")
    for number, (name, _) in enumerate(steps):
        events = [
            f"{'write' if write else 'read'} page {address // params.page_bytes}"
            for operation, address, write in zip(trace.operation, trace.address, trace.write, strict=True)
            if operation == number
        ]
        print(f"{name:<22} {', '.join(events)}")
    print(f"Each page is a fresh uniform draw among {params.pages}. Run this again: the pages are others.")


if __name__ == "__main__":
    main()
