"""What the integration tests share: a node and its pods, programs in network namespaces, and parsers.

Each *_test.py runs alone, as `python3 -B Tests/Integration/X_test.py`, with PODWIRE naming the binary.
"""

import pathlib
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
INTEGRATION = HERE.parent
ROOT = INTEGRATION.parent.parent
TOOLS = ROOT / "tools"

# The tools' own: the parser of capture files, the test bed's addresses, and what tests run by.
sys.path.append(str(TOOLS / "lib"))
import captures  # noqa: E402
import house  # noqa: E402
import packet_sizes as sizes  # noqa: E402
import places  # noqa: E402
import python_lint  # noqa: E402
import steps  # noqa: E402
import traffic  # noqa: E402

# Whoever starts the tests may ignore SIGHUP, as nohup(1) does, and programs inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)

__all__ = ["HERE", "INTEGRATION", "ROOT", "TOOLS", "captures", "house", "places", "python_lint",
           "sizes", "steps", "traffic"]
