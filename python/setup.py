"""pip install ./python: the package carries the protocol's descriptors, made from proto/ here."""
import pathlib
import sys

from setuptools import setup
from setuptools.command.build_py import build_py

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "rubato"))
from compile_protocol import INSTALLED_SET, compile_protocol  # noqa: E402


class BuildWithProtocol(build_py):
    def run(self):
        super().run()
        target = pathlib.Path(self.build_lib) / "rubato" / INSTALLED_SET
        target.write_bytes(compile_protocol(HERE.parent / "proto"))


setup(cmdclass={"build_py": BuildWithProtocol})
