"""What Sphinx lacks for our pages: a table of contents, whole packages, and the sections of our docstrings.

Pages are Markdown that reads well in the repository, so they hold no directives. The table of contents of the site is
put in here, when Sphinx reads the first page.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from enum import Enum
from inspect import signature
from textwrap import dedent
from types import GenericAlias
from typing import Any

from amaranth.hdl import Elaboratable
from docutils import nodes
from docutils.statemachine import StringList
from numpydoc.docscrape import NumpyDocString
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.inspect import stringify_signature

import omap

logger = logging.getLogger(__name__)

CONTENTS = {
    "Start": ["/README", "/examples/README", "/docs/glossary"],
    "Use": ["/docs/use/client", "/docs/use/redis", "/docs/use/server", "/docs/use/relay", "/docs/use/planning"],
    "Hardware": [
        "/docs/hardware/architecture",
        "/rtl/README",
        "/docs/hardware/blocks",
        "/docs/hardware/change-a-block",
        "/docs/hardware/*",
        "/docs/timing",
        "/docs/performance",
        "/boards/README",
        "/boards/*/README",
    ],
    "Security": ["/SECURITY", "/docs/security/README", "/docs/security/keys", "/docs/security/attacks"],
    "Reference": [
        *(
            f"/docs/reference/{page}"
            for page in ("omap", "audit", "sizing", "omap-modules", "fast", "client", "rtl-engine")
        ),
        "/docs/reference/rtl-*",
        "/docs/reference/sim*",
    ],
    "Project": ["/CONTRIBUTING", "/CHANGELOG", "/docs/decisions/*"],
}
"""What stands in the side bar, by heading; a star stands for all pages of a folder."""

PACKAGES = ("omap", "rtl", "sim", "host", "boards")

SECTIONS = ("Members", "Reveals", "Hides", "Countermeasures")
"""Sections of docstrings that numpydoc does not know."""

OURS = re.compile(
    rf"^(?P<name>{'|'.join(SECTIONS)})\n"  # at the margin, and below it
    r"(?:-+\n(?P<plain>(?:(?![A-Z][A-Za-z ]+\n-{3,}\n).*\n?)*)"  # a line, and text up to the next such heading
    r"|(?P<indented>(?:[ ]+.*\n|\n)+))",  # or text that is indented
    re.MULTILINE,
)


def add_contents(app: Sphinx, page: str, source: list[str]) -> None:
    """Append the table of contents to the first page."""
    if page == app.config.root_doc:
        for caption, pages in CONTENTS.items():
            listed = "\n".join(pages)
            source[0] += f"\n\n```{{toctree}}\n:hidden:\n:glob:\n:caption: {caption}\n\n{listed}\n```\n"


class Package(SphinxDirective):
    """``.. package:: NAME`` describes every module of a package, in alphabetical order."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Insert a heading and ``automodule`` for each module."""
        name = self.arguments[0]
        folder = importlib.import_module(name).__path__
        lines = []
        for module in sorted(found.name for found in pkgutil.iter_modules(folder) if not found.ispkg):
            path = f"{name}.{module}"
            lines += ["", path, "-" * len(path), "", f".. automodule:: {path}", ""]
        self.state_machine.insert_input(StringList(lines, source=name), name)
        return []


def split_sections(docstring: str) -> tuple[str, dict[str, str]]:
    """Return a docstring without the sections of our own, and those by name."""
    sections = {
        found["name"]: dedent(found["plain"] or found["indented"]).strip("\n") for found in OURS.finditer(docstring)
    }
    return OURS.sub("", docstring), sections


def take_sections(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Put sections that numpydoc does not know aside, before it reads the docstring."""
    ours = (getattr(obj, "__module__", None) or name).partition(".")[0] in PACKAGES  # Amaranth's are looked at, too
    for heading in re.findall(r"^(\S[^\n]*)\n-{3,}$", "\n".join(lines), re.MULTILINE):
        if ours and heading not in NumpyDocString.sections:
            logger.warning("%s has a section that nobody knows: %s", name, heading)
    rest, sections = split_sections("\n".join(lines) + "\n")
    lines[:] = [*rest.rstrip("\n").split("\n"), ""]
    app.env.temp_data["sections"] = sections


def add_sections(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Append them, as definition lists under small headings; append the values of an enumeration, too."""
    if isinstance(obj, type) and issubclass(obj, Enum):
        lines += ["", "Values: " + ", ".join(f"``{value.name}`` = {value.value!r}" for value in obj) + "."]
    for heading, text in app.env.temp_data.pop("sections", {}).items():
        lines += ["", f".. rubric:: {heading}", "", *as_definitions(text)]
    lines.append("")  # or the next object would belong to the last paragraph


def as_definitions(text: str) -> list[str]:
    """Return a section with its terms in bold; terms are lines at the margin that have an indented text below."""
    rows, lines = [], text.split("\n")
    for row, after in zip(lines, [*lines[1:], ""], strict=True):
        if row and not row[0].isspace() and after[:1].isspace():
            term, _, kind = row.partition(" : ")
            rows += ["", f"**{term}**" + (f" : {kind}" if kind.startswith(":") else f" : ``{kind}``" if kind else "")]
        else:
            rows.append(row)
    return rows


def sign(app: Sphinx, what: str, name: str, obj: Any, options: Any, *given: Any) -> tuple[str, str] | None:
    """Give a block the signature of its ``__init__``; Amaranth's base class has a ``__new__`` that takes anything."""
    if what == "class" and issubclass(obj, Elaboratable):
        taken = signature(obj.__init__)
        return stringify_signature(
            taken.replace(parameters=[*taken.parameters.values()][1:]), show_annotation=False
        ), ""
    return None


def find_on_top(app: Sphinx, env: BuildEnvironment, node: nodes.Element, text: nodes.Node) -> nodes.Node | None:
    """Find ``omap.interface.ObliviousMap.get`` as ``omap.ObliviousMap.get``, and ``Bench.run`` wherever it is."""
    if node.get("refdomain") != "py" or "." not in node["reftarget"]:
        return None
    found = re.fullmatch(r"omap\.\w+\.((\w+)[\w.]*)", node["reftarget"])
    if found and found[2] in omap.__all__:
        node["reftarget"] = f"omap.{found[1]}"
    node["refspecific"] = True  # any module may hold it
    domain = env.get_domain("py")
    return domain.resolve_xref(env, node["refdoc"], app.builder, node["reftype"], node["reftarget"], node, text)


def let_names_break(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Let names and paths in tables break after a dot or a slash, so that columns get narrower."""
    for row in tree.findall(nodes.entry):
        for name in row.findall(nodes.literal):
            first, *parts = re.split(r"(?<=[./])", name.astext())
            name[:] = [nodes.Text(first)]
            for part in parts:
                name += [nodes.raw("", "<wbr>", format="html"), nodes.Text(part)]


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Skip what says nothing, and in other modules what ``omap`` describes."""
    if type(obj).__name__ == "_tuplegetter" or isinstance(obj, GenericAlias) or name == "elaborate":
        return True
    on_top_page = app.env.docname == "docs/reference/omap"
    if not on_top_page and what == "module" and getattr(omap, name, None) is obj and name in omap.__all__:
        return True
    return None


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect all of it; numpydoc works at priority 500."""
    NumpyDocString.sections |= {section: [] for section in SECTIONS}  # it also looks for signatures, and would warn
    app.add_directive("package", Package)
    app.connect("source-read", add_contents)
    app.connect("autodoc-process-docstring", take_sections, priority=400)
    app.connect("autodoc-process-docstring", add_sections, priority=600)
    app.connect("autodoc-process-signature", sign, priority=400)
    app.connect("autodoc-skip-member", skip)
    app.connect("missing-reference", find_on_top)
    app.connect("doctree-resolved", let_names_break)
    return {"parallel_read_safe": False}
