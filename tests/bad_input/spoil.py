"""Spoilt npz and safetensors files, and a server that answers a URL in a parameter."""

import io
import json
import re
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import torch
from damage import Change
from finished import write_params
from safetensors import safe_open
from safetensors.torch import save_file

from mosaic_pipeline.digest import md5_file

Arrays = dict[str, np.ndarray]


def npy(array: np.ndarray) -> bytes:
    """The bytes of an npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zipped(arrays: Arrays, compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """An npz with this compression, whole members of it replaced."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in ({f"{name}.npy": npy(array) for name, array in arrays.items()} | members).items():
            archive.writestr(name, content)
    return file.getvalue()


def encrypted(arrays: Arrays) -> bytes:
    """An npz whose every header says that it is encrypted."""
    content = bytearray(zipped(arrays))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for match in re.finditer(re.escape(mark), bytes(content)):
            content[match.start() + offset] |= 1
    return bytes(content)


def wrong_sums(arrays: Arrays) -> bytes:
    """An npz in which one bit of every array is another."""
    content = zipped(arrays)
    for array in arrays.values():
        place = content.index(npy(array)) + len(npy(array)) - 1
        content = content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
    return content


def made_of(source: str, name: str, make: Callable[[Arrays], bytes]) -> Change:
    """The file `name` made of the arrays of an npz that is found by the pattern `source`."""

    def change(project: Path) -> None:
        (found,) = project.glob(source)
        with np.load(found) as npz:
            arrays = dict(npz)
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_bytes(make(arrays))

    return change


def with_array(**arrays: np.ndarray | None) -> Callable[[Arrays], bytes]:
    """Other arrays by name, `__` for a slash; None takes one out."""
    changes = {name.replace("__", "/"): array for name, array in arrays.items()}
    return lambda found: zipped({name: array for name, array in (found | changes).items() if array is not None})


def edited_tensors(
    name: str, edit: Callable[[dict[str, torch.Tensor]], None], metadata: dict[str, str] | None = None
) -> Change:
    """A safetensors file with other tensors; train.json beside it, if there is one, tells the new file's md5."""

    def change(project: Path) -> None:
        path, training = project / name, (project / name).with_name("train.json")
        with safe_open(path, framework="pt") as file:
            tensors, kept = {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
        edit(tensors)
        save_file(tensors, path, kept if metadata is None else metadata)
        if training.is_file():
            tree = json.loads(training.read_text())
            tree["md5"]["model"] = md5_file(path)
            training.write_text(json.dumps(tree))

    return change


def answering(key: str, status: int, body: bytes, path: str = "/vit.npz") -> Callable[[Path], Iterator[None]]:
    """A server that always answers so, and its address, with `path`, as the value of a parameter."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    @contextmanager
    def damage(project: Path) -> Iterator[None]:
        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            write_params(project, {key: f"http://ada:secret@127.0.0.1:{server.server_port}{path}"})
            yield
            server.shutdown()

    return damage
