"""Both ends of sessions without rings: clients with credentials, and the device's table."""

from omap.bodies import Reply, command_items, pack_answers, reply_text, unpack_columns
from omap.columns import Answers, Columns
from omap.credentials import ALL_RIGHTS, ClientKey, Credential, Right, provision
from omap.params import Params
from omap.presets import preset
from omap.session import ClientSession
from omap.sessions import DeviceSessions
from omap.wire import Refusal, read_header

ROOT_KEY = bytes(range(32))
MAP_ID = b"map id, 16 bytes"


def holder(name: bytes = b"", rights: Right = ALL_RIGHTS, prefix: bytes = b"", root_key: bytes = ROOT_KEY) -> ClientKey:
    """Return what a client with this credential holds."""
    return provision(root_key, Credential(rights, prefix, name))


def opened(device: DeviceSessions, client: ClientKey | None = None, replaces: int = 0) -> ClientSession:
    """Return the client's end of a session that has been opened."""
    session = ClientSession(device.codec.params, client or holder(), replaces=replaces)
    session.opened(device.confirm(session.confirm(device.hello(session.hello(), MAP_ID))))
    return session


def pair(client: ClientKey | None = None, params: Params | None = None) -> tuple[ClientSession, DeviceSessions]:
    """Return both ends of a session that has been opened."""
    device = DeviceSessions(params or preset("SMALL"), ROOT_KEY)
    return opened(device, client), device


def receive(device: DeviceSessions, record: bytes) -> Columns | Refusal:
    """Return the operations of a command record as the device reads them, or why it refuses the record."""
    header = read_header(record)
    text = device.open(record, header)
    if isinstance(text, Refusal):
        return text
    return unpack_columns(device.codec, command_items(device.codec, text, header.count))


def reply(device: DeviceSessions, record: bytes, answers: Answers, numbers: tuple[int, int, int] = (0, 0, 0)) -> bytes:
    """Return the response to a command record. ``numbers`` are of the first operation, overruns and live keys."""
    header = read_header(record)
    text = reply_text(device.codec, Reply(*numbers, header.count, pack_answers(device.codec, answers)))
    return device.seal(header, text)
