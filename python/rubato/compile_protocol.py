"""From proto/ to a set of descriptors; protocol.py says why. Also used by setup.py, so it imports
nothing of the package."""
import pathlib
import shutil
import subprocess
import sys
import tempfile

INSTALLED_SET = "protocol.binpb"  # beside this file, in an installed package
CHECKOUT = pathlib.Path(__file__).resolve().parents[2] / "proto"


def compile_protocol(root: pathlib.Path = CHECKOUT) -> bytes:
    """The FileDescriptorSet of rubato.v1 below `root`, serialized. RuntimeError in one line."""
    files = sorted(str(path.relative_to(root)) for path in (root / "rubato" / "v1").glob("*.proto"))
    if not files:
        raise RuntimeError(f"[protocol] {root}: got no rubato/v1/*.proto, want the protocol's "
                           "files; install the package from a checkout")
    protoc = ["protoc"] if shutil.which("protoc") else [sys.executable, "-m", "grpc_tools.protoc"]
    with tempfile.TemporaryDirectory() as directory:
        described = pathlib.Path(directory) / INSTALLED_SET
        made = subprocess.run([*protoc, f"--proto_path={root}",
                               f"--descriptor_set_out={described}", *files],
                              capture_output=True, text=True, errors="replace", check=False)
        if made.returncode == 0:
            return described.read_bytes()
    raise RuntimeError("[protocol] got no descriptors, want protoc (protobuf-compiler) or "
                       f"grpcio-tools: {' '.join(made.stderr.split())}")
