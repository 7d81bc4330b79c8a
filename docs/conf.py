"""The documentation site: `python -m sphinx -W --keep-going docs docs/_build` after `pip install -e '.[docs]'`."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

project = "rnnjax"
author = "the rnnjax authors"
copyright = author
html_title = "rnnjax"
html_theme = "sphinx_book_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_theme_options = {
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "navbar_persistent": [],
    "use_download_button": True,
    "use_fullscreen_button": False,
    "pygments_light_style": "tango",
    "pygments_dark_style": "github-dark",
}

extensions = ["myst_nb", "sphinx.ext.autodoc", "docstrings", "generated", "links", "mathml"]
exclude_patterns = ["_build", "_ext", "conf.py", "tutorials/bptt_by_hand.py", "results/*.py"]
exclude_patterns += ["generated/folders.md", "generated/notebooks"]  # included in a page; to download
suppress_warnings = ["config.cache", "ref.python"]  # a name in a docstring may be found in several folders

# Pages are MyST markdown; tutorials are jupytext scripts, run at build time and kept until they change.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_custom_formats = {".py": ["jupytext.reads", {"fmt": "py:percent"}]}
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_timeout = 300
nb_ipywidgets_js = {}
nb_merge_streams = True

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
autodoc_type_aliases = {"ArrayLike": "ArrayLike"}
add_module_names = False
python_maximum_signature_line_length = 88
html_math_renderer = "mathml"
