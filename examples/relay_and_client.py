"""A relay and a client in one process: what `omap serve` and `omap.connect` do.

You learn how to provision a device and a client, how this client opens a session through a relay that holds no key, how
to send many operations at once, and what happens to a client without a right or the key. A model stands for the card.
Run it with `python examples/relay_and_client.py`.
"""

import tempfile
from pathlib import Path

import omap
from host.keyfile import write_client_file, write_root_file
from host.testing import running_relay
from omap.credentials import Credential, Right, provision
from omap.operations import Kind, Operation, Status


def main() -> None:
    """Store and read values through a relay; then try it without a right, and with a wrong key."""
    params = omap.preset("SMALL")
    with tempfile.TemporaryDirectory() as folder:
        root_file, alice_file, bob_file = (Path(folder, f"{name}.key") for name in ("root", "alice", "bob"))
        root_key = write_root_file(root_file)
        write_client_file(alice_file, provision(root_key, Credential(name=b"alice")))
        write_client_file(bob_file, provision(root_key, Credential(Right.READ, name=b"bob")))
        with running_relay(params, root_file) as relay:
            with omap.connect(relay.address, key_file=alice_file) as table:
                table.put(b"airport1", b"Heathrow")
                print("one operation:", table.get(b"airport1"))

                batch = [Operation(Kind.PUT, f"number{n:02}".encode(), f"value {n:02}".encode()) for n in range(20)]
                batch.append(Operation(Kind.GET, b"number07"))
                responses = table.execute(batch)  # in order, in flight together
                print("twenty-one at once:", responses[-1].previous)
                assert all(response.status == Status.OK for response in responses)
                print("live keys:", len(table))

            with omap.connect(relay.address, key_file=bob_file) as table:
                print("bob reads:", table.get(b"airport1"))
                try:
                    table.put(b"airport1", b"Gatwick ")
                except omap.DeniedError as error:
                    print("bob may not write:", error)

            stranger = provision(bytes(32), Credential(name=b"alice"))  # not derived from the device's root key
            try:
                omap.connect(relay.address, client=stranger)
            except omap.WrongKeyError as error:
                print("a stranger:", error)


if __name__ == "__main__":
    main()
