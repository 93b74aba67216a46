"""The image is the same whoever makes it."""

import json
import pathlib
import shutil
import tempfile
import unittest

from support import ROOT
from support.commands import output
from support.image import make_image


class ImageTest(unittest.TestCase):
    def test_the_same_from_another_folder(self):
        """Built anew from a copy of what an engine's build is given, it has the same layer."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        copy = pathlib.Path(folder.name, "a copy")
        copy.mkdir()
        for line in (ROOT / ".dockerignore").read_text().splitlines():
            source = ROOT / line.removeprefix("!")
            if not line.startswith("!") or not source.exists():
                continue
            if source.is_dir():
                shutil.copytree(source, copy / source.name)
            else:
                shutil.copy(source, copy)
        layers = []
        for root in (ROOT, copy):
            archive = f"{folder.name}/{len(layers)}.tar"
            make_image(archive, root, SOURCE_DATE_EPOCH="1700000000")
            layers.append(json.loads(output("skopeo", "inspect", f"oci-archive:{archive}"))["Layers"])
        self.assertEqual(*layers)


if __name__ == "__main__":
    unittest.main()
