"""How the site is built: `make docs`, offline, every warning an error.

Pages are MyST Markdown, as GitHub shows them too; the reference of the API is made of docstrings.
"""

from __future__ import annotations

import imgturbo

project = "imgturbo"
author = "The imgturbo developers"
version = release = imgturbo.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb"}

# Pages link to files of the repository, which are no pages of this site: they stay plain links.
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # tests/test_notebooks.py runs them; here they are shown as they are

autodoc_typehints = "description"
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True, "show-inheritance": True}
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True  # attributes are told once, by the class

html_theme = "furo"
html_title = f"imgturbo {version}"
html_copy_source = False
