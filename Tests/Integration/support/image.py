"""The image, made without an engine."""

import os
import subprocess

from support import ROOT


def make_image(output, root=ROOT, **variables):
    made = subprocess.run(
        [root / "tools/image", "--engine", "none", "--output", output], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=3000, env={**os.environ, **variables})
    assert made.returncode == 0, made.stdout[-4000:]
