"""tools/compare, as a module."""

import importlib.machinery
import importlib.util

from support import TOOLS

LOADER = importlib.machinery.SourceFileLoader("compare", str(TOOLS / "compare"))
compare = importlib.util.module_from_spec(importlib.util.spec_from_loader("compare", LOADER))
LOADER.exec_module(compare)
