"""The registers as documents and manifests write them down."""

from __future__ import annotations

from typing import Any

from omap.regmap import REGISTERS

HEAD = "| offset | register | access | bits | what it is |\n|---|---|---|---|---|"


def table() -> str:
    """Return the registers as a table in Markdown, fields in lines of their own."""
    lines = [HEAD]
    for register in REGISTERS:
        lines.append(f"| `{register.offset:#04x}` | `{register.name}` | {register.access} | 31:0 | {register.text} |")
        for field in register.fields:
            high = field.low + field.width - 1
            bits = str(field.low) if field.width == 1 else f"{high}:{field.low}"
            lines.append(f"| | | | {bits} | `{field.name}`: {field.text} |")
    return "\n".join(lines)


def listed() -> list[dict[str, Any]]:
    """Return the registers as a manifest lists them."""
    return [{"name": r.name, "offset": r.offset, "access": str(r.access)} for r in REGISTERS]
