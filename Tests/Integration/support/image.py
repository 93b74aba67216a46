"""The image, made without an engine."""

import os
import subprocess

from support import ROOT


def make_image(output, root=ROOT, *options, **variables):
    made = subprocess.run(
        [root / "tools/image", "--engine", "none", "--output", output, *options], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=3000, env={**os.environ, **variables})
    assert made.returncode == 0, made.stdout[-4000:]


def join_images(output, *archives):
    """What tools/image says when it joins archives, and its exit code."""
    made = subprocess.run([ROOT / "tools/image", "--index", output, *archives], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    return made.returncode, made.stdout
