"""Settings of Sphinx for ``make docs``: pages in Markdown from the whole tree, and a reference from docstrings."""

import sys
import warnings
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))  # reference.py, an extension of our own

warnings.filterwarnings("ignore", "Unknown section")  # of Amaranth's docstrings; reference.py warns about ours

project = "omap"
release = version = metadata.version("omap-fpga")

extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "reference"]
root_doc = "docs/README"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/*/*.md",
    "docs/reference/*.rst",
    "boards/*.md",
    "boards/*/*.md",
    "examples/*.md",
    "rtl/*.md",
]
rst_prolog = """
.. role:: py(code)
   :language: python
"""
exclude_patterns = ["build", ".venv", "tests", "**/node_modules"]

nitpicky = True
nitpick_ignore_regex = [
    ("py:attr", ".*"),  # members and attributes are described by their class, and have no place of their own
    ("py:.*", r"(amaranth|click)\..*"),
    ("py:class", r"(numpy|collections)\..*"),  # what names of types stand for
]

myst_heading_anchors = 3  # so that links to headings work as on the pages of a repository
myst_enable_extensions = ["html_image"]

autodoc_default_options = {"members": True}
autodoc_typehints = "none"  # types stand in the docstrings, in words
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
numpydoc_show_class_members = False  # autodoc shows them

html_theme = "furo"
html_title = "omap"
html_copy_source = False
html_show_sphinx = html_show_copyright = False
templates_path = ["templates"]
html_static_path = ["static"]
html_css_files = ["site.css"]
html_additional_pages = {"index": "start.html"}  # index.html leads to the first page
pygments_style = "friendly"
pygments_dark_style = "monokai"
