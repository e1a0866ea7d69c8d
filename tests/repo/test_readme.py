"""What the README says to type can be typed, and what it points to is there."""

import contextlib
import importlib.util
import re
import shlex
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "SECURITY.md",
    "CONTRIBUTING.md",
    *(f"docs/decisions/{p.name}" for p in sorted((ROOT / "docs/decisions").glob("*.md"))),
)
README = (ROOT / "README.md").read_text("utf-8")
MADE = {"omap-demo.html", ".venv", "build/"}
"""Made by what the documents tell to run."""


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


COMMANDS = [line for block in blocks("sh") for line in block.splitlines() if line.strip()]
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
DEMO_EXTRAS = set(re.search(r"^DEMO_EXTRAS := (.*)$", MAKEFILE, re.MULTILINE)[1].split())
TARGETS = set(re.findall(r"^([a-z-]+):.*?##", MAKEFILE, re.MULTILINE))


@pytest.mark.parametrize("line", COMMANDS)
def test_commands(line):
    program, *arguments = shlex.split(line, comments=True)
    match program:
        case "make":
            assert set(arguments) <= TARGETS
        case "omap":
            entry_points = metadata.entry_points(group="omap.commands", name=arguments[0])
            assert entry_points, (
                f"omap has no subcommand {arguments[0]}: install again after a change of pyproject.toml"
            )
            (entry_point,) = entry_points
            with contextlib.suppress(click.exceptions.Exit):  # --help; a wrong option raises a UsageError
                entry_point.load().make_context(arguments[0], arguments[1:])
        case "python":
            assert arguments[0] == "-m"
            assert importlib.util.find_spec(arguments[1])
        case "pip":
            assert arguments[:2] == ["install", "-e"]
            assert extras(line) <= set(EXTRAS)
        case "apt-get":
            assert arguments[0] == "install"  # the next test looks at what
        case "redis-cli":
            pass  # tests/host/test_readme_steps.py runs these
        case _:
            pytest.fail(f"nobody checks commands of {program}")


def test_prerequisites_are_those_that_ci_installs():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    lines = [shlex.split(line) for line in COMMANDS if line.startswith("apt-get install ")]
    named = [package for line in lines for package in line[2:]]
    assert named
    assert sorted(named) == sorted(re.findall(r"^ +\[([\w+-]+)\]=", script, re.MULTILINE))


def test_there_is_one_command_that_runs():
    assert COMMANDS[0] == "make demo"


def extras(text):
    """Return the extras that ``pip install -e`` in a text names."""
    found = re.findall(r"pip install -e '\.\[([\w,]+)\]'", text)
    return {extra for names in found for extra in names.split(",")}


def sections():
    """Yield each command line with the extras that its section has installed before it, beside those of the demo."""
    for section in re.split(r"^## ", README, flags=re.MULTILINE):
        for block in re.finditer(r"^```sh\n(.*?)^```", section, re.MULTILINE | re.DOTALL):
            for line in re.finditer(r"^.+$", block[1], re.MULTILINE):
                yield line[0], DEMO_EXTRAS | extras(section[: block.start(1) + line.start()])


QUICKLY = {"bounds": ["--keys", "1000", "--accesses", "1000"]}
"""Options with which a command that takes long needs the same packages."""

WITH_OTHERS = {"audit", "demo", "provision", "serve", "proxy", "get", "put", "status"}
"""Commands that other tests, or another test of this file, run as they are written here."""

ONLY = """
import sys
from importlib import metadata
wanted, owners = set(sys.argv[1].split(",")), metadata.packages_distributions()
absent = {name for name, found in owners.items() if wanted.intersection(map(str.lower, found))}

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Finder())
from omap.cli import main
main(sys.argv[2:])
"""


def distributions(names):
    return {re.match(r"[\w.-]+", requirement)[0].lower() for name in names for requirement in EXTRAS[name]}


def run_with(installed, arguments, folder=ROOT):
    """Run ``omap`` in a folder, as if of all extras only those that are ``installed`` were there."""
    absent = distributions(set(EXTRAS)) - distributions(installed)
    run = [sys.executable, "-c", ONLY, ",".join(sorted(absent)), *arguments]
    return subprocess.run(run, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(("line", "installed"), list(sections()))
def test_commands_stand_where_what_they_need_is_installed(line, installed):
    program, *arguments = shlex.split(line)
    if program != "omap" or arguments[0] in WITH_OTHERS:
        return
    if arguments[0] == "board" and arguments[1] != "list":
        arguments = [*arguments[:2], "--help"]
    result = run_with(installed, [*arguments, *QUICKLY.get(arguments[0], [])])
    assert result.returncode == 0, result.stderr


def test_the_commands_about_audits_run_one_after_the_other(tmp_path):
    lines = [line for line in COMMANDS if line.startswith("omap audit ")]
    for line in lines:
        result = run_with(DEMO_EXTRAS, shlex.split(line)[1:], tmp_path)
        plain = "--plain" in line
        assert result.returncode == plain, result.stderr
        assert result.stdout.startswith("FAIL: " if plain else "PASS: ")
    assert [" --save " in line for line in lines] == [True, False, False]  # what the second one needs is there


def test_a_command_that_takes_long_says_so():
    (before, _) = README.split("\nomap bounds\n")
    assert "takes more than a minute" in before[-400:]


def test_what_is_kept_stands_before_the_first_command():
    before = README.partition("```sh")[0]
    assert "all data is lost" in before
    assert "(docs/use/redis.md)" in before


def test_what_the_documents_make_in_the_work_tree_is_ignored():
    made = set()
    for path in (ROOT / "README.md", *(ROOT / "docs" / "use").glob("*.md"), *(ROOT / "boards").rglob("*.md")):
        text = path.read_text("utf-8")
        made |= set(re.findall(r"^ *omap provision (?:.* )?(\S+)$", text, re.MULTILINE))
        made |= set(re.findall(r"^ *omap .* > (\S+)$", text, re.MULTILINE))
        made |= set(re.findall(r"^ *omap audit .*--save (\S+)$", text, re.MULTILINE))
        made |= set(re.findall(r"^ *python -m \S+ --listen (\S+) ", text, re.MULTILINE))
    assert {"root.key", "client.key", "plan.json", "t.npz", "device.sock"} <= made
    for name in sorted(made):
        ignored = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False)
        assert ignored.returncode == 0, name


@pytest.mark.parametrize("block", blocks("python"))
def test_python_examples_run(block):
    exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_and_links_lead_somewhere(document):
    text = (ROOT / document).read_text("utf-8")
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    here = (ROOT / document).parent
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    missing = [link for link in links if not (here / link).exists()]
    for code in re.findall(r"`([^`\n]+)`", text):
        is_path = re.fullmatch(r"[\w.-]*/[\w./-]*|[\w-]+\.(md|toml|html)", code)
        if is_path and code not in MADE and not (ROOT / code).exists():
            missing.append(code)
    assert not missing


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_and_make_targets_exist(document):
    text = (ROOT / document).read_text("utf-8")
    for code in re.findall(r"`([^`\n]+)`", text):
        if re.fullmatch(r"(omap|rtl|sim|host|boards)(\.\w+)+", code):
            assert _is_group(code) or _is_importable(code), code
        if found := re.fullmatch(r"make ([a-z-]+)", code):
            assert found[1] in TARGETS, code
        if found := re.match(r"omap ([a-z]+)\b", code):
            assert found[1] in metadata.entry_points(group="omap.commands").names, code


def _is_importable(code):
    module, _, name = code.rpartition(".")
    if importlib.util.find_spec(module) is None:
        return False
    loaded = importlib.import_module(module)
    return hasattr(loaded, name) or (hasattr(loaded, "__path__") and importlib.util.find_spec(code) is not None)


def _is_group(name):
    return name in metadata.entry_points().groups


def test_every_target_expands_and_help_lists_it():
    for target in TARGETS:
        subprocess.run(["make", "--dry-run", "--no-print-directory", target], cwd=ROOT, check=True, capture_output=True)
    listed = subprocess.run(["make", "help"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert all(f"make {target} " in listed for target in TARGETS)


def test_modules_that_the_makefile_runs_exist():
    for module in re.findall(r"-m ([a-z_.]+)", MAKEFILE):
        assert importlib.util.find_spec(module), module


def test_ci_is_a_sound_script_that_runs_make_test():
    script = ROOT / ".ci" / "run"
    subprocess.run(["bash", "-n", script], check=True)
    assert script.stat().st_mode & 0o111
    assert re.search(r"^make .*\btest\b", script.read_text("utf-8"), re.MULTILINE)
