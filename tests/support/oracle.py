"""What a map must answer, worked out with a dict."""

from omap.operations import Kind, Operation, Response, Status


def expected(oracle: dict, capacity: int, operation: Operation) -> Response:
    """Apply an operation to a dict and return what a map must answer."""
    kind, key, value = operation
    if kind == Kind.NOP:
        return Response(Status.OK)
    previous = oracle.get(key)
    if kind == Kind.PUT:
        if previous is None and len(oracle) >= capacity:
            return Response(Status.FULL)
        oracle[key] = value
        return Response(Status.OK, previous)
    if kind == Kind.DELETE:
        oracle.pop(key, None)
    return Response(Status.NOT_FOUND if previous is None else Status.OK, previous)
