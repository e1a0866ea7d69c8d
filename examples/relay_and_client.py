"""A relay and a client in one process: what `omap serve` and `omap.connect` do.

You learn how to provision a root key, how a client opens a session through a relay that holds no key, how to send many
operations at once, and what happens to a client with another key. A model stands for the card.
Run it with `python examples/relay_and_client.py`.
"""

import tempfile
from pathlib import Path

import omap
from host.keyfile import write_key_file
from host.testing import running_relay
from omap.operations import Kind, Operation, Status


def main() -> None:
    """Store and read values through a relay; then try it with a wrong key."""
    params = omap.preset("SMALL")
    with tempfile.TemporaryDirectory() as folder:
        key_file, other_file = Path(folder, "root.key"), Path(folder, "other.key")
        write_key_file(key_file)
        write_key_file(other_file)
        with running_relay(params, key_file) as relay:
            with omap.connect(relay.address, key_file=str(key_file)) as table:
                table.put(b"airport1", b"Heathrow")
                print("one operation:", table.get(b"airport1"))

                batch = [Operation(Kind.PUT, f"number{n:02}".encode(), f"value {n:02}".encode()) for n in range(20)]
                batch.append(Operation(Kind.GET, b"number07"))
                responses = table.execute(batch)  # in order, in flight together
                print("twenty-one at once:", responses[-1].previous)
                assert all(response.status == Status.OK for response in responses)
                print("live keys:", len(table))

            try:
                omap.connect(relay.address, key_file=str(other_file))
            except omap.WrongKeyError as error:
                print("another key:", error)


if __name__ == "__main__":
    main()
