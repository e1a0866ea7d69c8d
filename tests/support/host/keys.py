"""Keys and key files of tests: a client from a root key, and files with keys that a test chose."""

import os

from host.keyfile import read_root_file, write_client_file, write_root_file
from omap.credentials import ALL_RIGHTS, ClientKey, Credential, provision


def client_of(root, rights=ALL_RIGHTS, prefix=b"", name=b""):
    """Return what a client holds; one that may do everything, if nothing else is said.

    ``root`` is a root key, or the path of a root file. What a client holds already stays as it is.
    """
    if isinstance(root, ClientKey):
        return root
    key = root if isinstance(root, bytes) else read_root_file(root)
    return provision(key, Credential(rights, prefix, name))


def client_file(path, root, **credential):
    """Write the file of a client, and return its path."""
    write_client_file(path, client_of(root, **credential))
    return path


def root_file(path, key=None):
    """Write a root file, with a fresh key unless one is given, and return its path."""
    if key is None:
        write_root_file(path)
    else:
        path.unlink(missing_ok=True)
        path.touch(0o600)
        os.chmod(path, 0o600)
        path.write_text(f"omap root key\nkey {key.hex()}\n")
    return path
