"""The other side of the PCIe streams, for the compiled bench: what requests say, and what hosts answer and ask."""

from dataclasses import dataclass, field

from rtl.pcie.layouts import ASKED, BEAT, COMPLETION, DWORDS, REQUEST, Status, Type

LINE = 64
DWORD = 4


@dataclass
class Request:
    """A request to host memory, checked: whole lines, aligned, within 4096 bytes, strictly ordered."""

    kind: Type
    address: int
    lines: int
    tag: int
    sequence: int
    data: bytes = b""
    beats: list = field(default_factory=list)


class RequestParser:
    """Makes requests of beats, and holds the beats to the rules of the stream."""

    def __init__(self):
        self._open = None

    @property
    def between(self):
        """Whether no request has begun and not ended."""
        return self._open is None

    def parse(self, beats):
        """Return the requests that end with these beats."""
        found = []
        for number in beats:
            beat = BEAT["rq"].from_bits(number)
            user, data = beat["user"], beat["data"].to_bytes(LINE, "little")
            assert (user["discontinue"], user["hints"], user["parity"], user["offset"]) == (0, 0, 0, 0)
            begins = self._open is None
            assert user["begins"] == begins
            assert user["begin_at"] == 0
            if begins:
                head = REQUEST.from_bits(beat["data"] & (1 << REQUEST.size) - 1)
                for name in ("translation", "poisoned", "requester", "requester_given", "completer", "ecrc"):
                    assert head[name] == 0
                assert (head["traffic_class"], head["attributes"]) == (0, 0)  # strict order
                assert (user["first_enable"], user["last_enable"]) == (15, 15)
                assert head["dwords"] % DWORDS == 0
                assert head["address"] % DWORDS == 0
                request = Request(
                    Type(head["type"]), head["address"] * DWORD, head["dwords"] // DWORDS, head["tag"], user["sequence"]
                )
                assert request.lines
                assert request.address % 4096 + request.lines * LINE <= 4096
                self._open, data = request, data[REQUEST.size // 8 :]
            else:
                assert (user["first_enable"], user["last_enable"], user["sequence"]) == (0, 0, 0)
            request = self._open
            kept = beat["keep"].bit_length() * DWORD - (REQUEST.size // 8 if begins else 0)
            assert beat["keep"] & beat["keep"] + 1 == 0  # without a gap
            request.data += data[:kept]
            request.beats.append(beat)
            assert user["ends"] == beat["last"]
            assert user["end_at"] == (beat["keep"].bit_length() - 1 if beat["last"] else 0)
            if beat["last"]:
                assert len(request.data) == (request.lines * LINE if request.kind == Type.WRITE else 0)
                assert len(request.beats) == (request.lines + 1 if request.kind == Type.WRITE else 1)
                found.append(request)
                self._open = None
            else:
                assert beat["keep"] == (1 << DWORDS) - 1
        return found


def _beats(layout, head, data, *, discontinue, **first):
    """Return a TLP as beats: its descriptor, its data, and fields of the side band in its first beat."""
    text = layout.const(head).as_value().value.to_bytes(layout.size // 8, "little") + data
    beats = []
    for at in range(0, len(text), LINE):
        piece, final = text[at : at + LINE], at + LINE >= len(text)
        words = len(piece) // DWORD
        user = {
            "begins": at == 0,
            "ends": final,
            "end_at": words - 1 if final else 0,
            "discontinue": final and discontinue,
            **(first if at == 0 else {}),
        }
        beats.append({"data": int.from_bytes(piece, "little"), "keep": (1 << words) - 1, "last": final, "user": user})
    return beats


def register_request(kind, address, *, dwords=1, first=15, last=0, bar=0, data=b"", discontinue=False, **fields):
    """Return the beats of a request of the host.

    Parameters
    ----------
    kind : Type or int
        What it asks for.
    address : int
        Of the first byte of a double word.
    dwords, first, last : int
        Double words, and which bytes of the first and of the last one are meant.
    bar : int
        The BAR that the address hits.
    data : bytes
        What it carries.
    discontinue : bool
        As for :func:`completion`.
    **fields
        Other fields of the descriptor.
    """
    head = {"address": address // DWORD, "dwords": dwords, "type": kind, "bar": bar, "aperture": 16, **fields}
    return _beats(ASKED, head, data, discontinue=discontinue, first_enable=first, last_enable=last)


def completion(tag, start, data=b"", *, remaining, last, discontinue=False, **changed):
    """Return the beats of a completion.

    Parameters
    ----------
    tag, start : int
        Whose it is, and where its first byte lies.
    data : bytes
        What it carries.
    remaining : int
        Bytes that the request still wants, these among them.
    last : bool
        Whether the request is completed.
    discontinue : bool
        Whether the block says in the last beat that the data are not to be trusted.
    **changed
        Other fields of the descriptor, or other values of these.
    """
    head = {
        "address": start % 4096,
        "bytes": remaining,
        "completed": last,
        "dwords": len(data) // DWORD,
        "status": Status.SUCCESSFUL,
        "tag": tag,
        **changed,
    }
    return _beats(COMPLETION, head, data, discontinue=discontinue)


def completions(request, memory, rng, *, boundary=LINE):
    """Return the completions of a read, each a list of beats, cut at some multiples of a boundary."""
    at, end, found = request.address, request.address + request.lines * LINE, []
    while at < end:
        cuts = range(at // boundary * boundary + boundary, end, boundary)
        to = rng.choice([*cuts, end])
        found.append(completion(request.tag, at, memory(at, to - at), remaining=end - at, last=to == end))
        at = to
    return found
