"""The tables of docs/hardware/blocks.md: what each block is, from its docstring, and which tests use it."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path

from amaranth.lib import wiring

from omap.presets import preset
from rtl.synth.blocks import blocks

ROOT = Path(__file__).resolve().parents[2]
WINGS = ("stream", "crypto", "memory", "rings", "map", "pcie")
SUPPORT = re.compile(r"^(?:from|import) tests\.support\.([\w.]+)", re.MULTILINE)


def _with_support(text):
    """Return the text of a test with what it imports from ``tests/support``."""
    names = sorted(set(SUPPORT.findall(text)))
    paths = [ROOT / "tests" / "support" / f"{name.replace('.', '/')}.py" for name in names]
    return "\n".join([text, *(path.read_text("utf-8") for path in paths if path.exists())])


TESTS = {path: _with_support(path.read_text("utf-8")) for path in sorted((ROOT / "tests" / "rtl").rglob("test_*.py"))}


def components(wing):
    """Return the public components of a wing, each with its module."""
    found = {}
    for module in pkgutil.iter_modules(importlib.import_module(f"rtl.{wing}").__path__):
        name = f"rtl.{wing}.{module.name}"
        for component in vars(importlib.import_module(name)).values():
            if (
                inspect.isclass(component)
                and issubclass(component, wiring.Component)
                and component.__module__ == name
                and not component.__name__.startswith("_")
            ):
                found[component] = name
    return found


def what(component):
    """Return the first sentence of a docstring, without markup."""
    text = inspect.getdoc(component).partition("\n\n")[0].replace("\n", " ")
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    return re.match(r"(.*?[^.]\.)(?:\s|$)", text)[1]


def twin(component):
    """Return what of ``omap`` a docstring names first: the block must equal it."""
    named = re.search(r":\w+:`~?(omap\.[\w.]+)`", inspect.getdoc(component))
    return f"`{named[1]}`" if named else ""


def _importing(component):
    return re.compile(rf"from {re.escape(component.__module__)} import (?:\([^)]*|[^\n]*)\b{component.__name__}\b")


def tests(component):
    """Return the tests of its wing that use a component, or others that do, or the blocks that hold it."""
    wing = component.__module__.split(".")[1]
    found = [path for path, text in TESTS.items() if _importing(component).search(text)]
    near = [path for path in found if path.parent == ROOT / "tests" / "rtl" / wing]
    if near:
        return ", ".join(f"`{path.name}`" for path in near)
    if found:
        return ", ".join(f"`{path.relative_to(ROOT)}`" for path in found)
    return "with " + ", ".join(f"`{holder}`" for holder in holders(component))


def holders(component):
    """Return the names of the components that hold a component, of its own module or of modules that import it."""
    found = []
    for wing in WINGS:
        for other, module in components(wing).items():
            source = inspect.getsource(importlib.import_module(module))
            known = module == component.__module__ or _importing(component).search(source)
            made = (inspect.getsource(base) for base in other.__mro__ if base.__module__.startswith("rtl."))
            if other is not component and known and any(f"{component.__name__}(" in text for text in made):
                found.append(other.__name__)
    return found


def latencies():
    """Return the fixed latencies of the blocks of PAPER, by class."""
    found = {}
    for name, block in blocks(preset("PAPER")).items():
        latency = getattr(block.make(), "latency", None) if name != "engine" else None
        if isinstance(latency, int):
            found.setdefault(block.component, []).append(f"{name} {latency}")
    return {component: ", ".join(texts) for component, texts in found.items()}


def labels(component):
    """Return the countermeasures that a docstring lists."""
    return ", ".join(
        f"`{label}`" for label in re.findall(r"^((?:[A-Z0-9_]+\.){2}[A-Z0-9_]+)$", inspect.getdoc(component), re.M)
    )


def table(wing):
    """Return the table of a wing."""
    lines = ["| block | what it does | `omap` twin | test | latency | countermeasures |", "|---|---|---|---|---|---|"]
    fixed = latencies()
    for component, module in components(wing).items():
        cells = (what(component), twin(component), tests(component), fixed.get(component, ""), labels(component))
        lines.append(f"| `{module.removeprefix(f'rtl.{wing}.')}.{component.__name__}` | {' | '.join(cells)} |")
    return "\n".join(lines)
