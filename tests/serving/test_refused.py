"""What is not answered: a sentence that names the thing, and nothing of the body in it or in the log."""

import asyncio
import base64
import gzip
import io
import json
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import nibabel
import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sent import in_base64, nifti, npy, picture

from mosaic_pipeline.serving import app as serving
from mosaic_pipeline.serving.app import build_app

# Wherever a request says something of its own, it says this, which must not come back.
MARK = "zq7319"
NUMBER = 73197319
GREY = np.full((28, 28), 73, np.uint8)
COLOUR = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)


def asked(*images: Any, dataset: Any = "breastmnist", **more: Any) -> bytes:
    return json.dumps({"dataset": dataset, "images": list(images), **more}).encode()


def png_of(width: int, height: int) -> str:
    """Return a grey PNG that says to be of this size, of which a few bytes are there."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(100_000))
    return in_base64(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))


def npy_that_says(shape: tuple[int, ...], descr: str = "|u1") -> str:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": False, "shape": shape})
    return in_base64(stream.getvalue() + b"12345678")


def nifti_that_says(*shape: int) -> str:
    content = bytearray(base64.b64decode(nifti(np.zeros((4, 4, 4), np.uint8), compressed=False)))
    content[40:48] = struct.pack("<4h", 3, *shape)
    return in_base64(gzip.compress(bytes(content)))


def nifti_before(kind: type, offset: int, extension: int, said: int | None = None) -> str:
    """Return a scan whose voxels begin at `offset`, before which lies an extension, which may say another size."""
    content = kind(np.zeros((4, 4, 4), np.uint8), np.eye(4)).to_bytes()
    header = kind.header_class.sizeof_hdr
    written = bytearray(content[:header] + b"\1\0\0\0")
    place, form = (108, "<f") if header == 348 else (168, "<q")
    written[place : place + struct.calcsize(form)] = struct.pack(form, offset)
    written += struct.pack("<2i", extension if said is None else said, 6) + bytes(extension - 8) + bytes(64)
    return in_base64(gzip.compress(bytes(written)))


def frames() -> str:
    stream = io.BytesIO()
    two = [Image.fromarray(GREY), Image.fromarray(GREY + 1)]
    two[0].save(stream, "PNG", save_all=True, append_images=two[1:])
    return in_base64(stream.getvalue())


BODIES: dict[str, tuple[Callable[[], bytes], str]] = {
    "no JSON": (lambda: f"{{{MARK}".encode(), "the body is no JSON"),
    "empty": (lambda: b"", "the body is no JSON"),
    "no UTF-8": (lambda: b'{"dataset": "\xff\xfe"}', "the body is no JSON"),
    "a list": (lambda: json.dumps([MARK]).encode(), "the body is no JSON object with dataset and images"),
    "nested without end": (lambda: b"[" * 500_000, "the body is no JSON"),
    "NaN": (lambda: b'{"dataset": "breastmnist", "images": [[[NaN]]]}', "NaN and Infinity"),
    "Infinity": (lambda: b'{"dataset": "breastmnist", "images": [[[-Infinity]]]}', "NaN and Infinity"),
    "no dataset": (lambda: json.dumps({"images": [GREY.tolist()]}).encode(), "dataset: is missing"),
    "no images": (lambda: json.dumps({"dataset": "breastmnist"}).encode(), "images: is missing"),
    "unknown dataset": (lambda: asked(GREY.tolist(), dataset=MARK), "dataset: unknown to this model, which knows"),
    "dataset of another type": (lambda: asked(GREY.tolist(), dataset=NUMBER), "dataset: must be the name of"),
    "an extra field": (lambda: asked(GREY.tolist(), temperature=MARK), "temperature: is no field of a request"),
    "an extra field of many words": (lambda: asked(GREY.tolist(), **{f"{MARK} " * 30: 1}), "one of the fields: is no"),
    "no list": (lambda: json.dumps({"dataset": "breastmnist", "images": MARK}).encode(), "images: must be a list"),
    "an empty batch": (lambda: asked(), "images: must be a list of 1 to 256"),
    "too many images": (lambda: asked(*[[[0]]] * 257), "images: must be a list of 1 to 256"),
    "a number as image": (lambda: asked(GREY.tolist(), NUMBER), "images[1]: must be a nested list"),
    "an object as image": (lambda: asked({MARK: MARK}), "images[0]: must be a nested list"),
    "null": (lambda: asked(None), "images[0]: must be a nested list"),
    "an empty image": (lambda: asked([]), "images[0]: holds an empty list"),
    "an image of empty rows": (lambda: asked([[], []]), "images[0]: holds an empty list"),
    "not square": (lambda: asked(GREY[:20].tolist()), "images[0]: has the form [20, 28]; breastmnist has square grey"),
    "a line": (lambda: asked(GREY[0].tolist()), "images[0]: has the form [28]"),
    "colour for grey": (lambda: asked(COLOUR.tolist()), "images[0]: has the form [28, 28, 3]; breastmnist"),
    "grey for colour": (lambda: asked(GREY.tolist(), dataset="retinamnist"), "images[0]: has the form [28, 28]; ret"),
    "four channels": (
        lambda: asked(np.zeros((8, 8, 4), int).tolist(), dataset="retinamnist"),
        "images[0]: has the form [8, 8, 4]",
    ),
    "an image for a volume": (lambda: asked(GREY.tolist(), dataset="nodulemnist3d"), "nodulemnist3d has cubes"),
    "a volume for an image": (lambda: asked(np.zeros((4, 4, 4), int).tolist()), "images[0]: has the form [4, 4, 4]"),
    "too wide": (lambda: asked([[0] * 5000]), "images[0]: has the form [1, 5000]"),
    "five axes": (lambda: asked([[[[[1]]]]]), "images[0]: lists are nested deeper than any image"),
    "ragged": (lambda: asked([[1, 2], [3]]), "images[0]: is ragged"),
    "ragged in depth": (lambda: asked([[1, 2], [3, [4]]]), "images[0]: is ragged"),
    "rows that are none": (lambda: asked([[1, 2], 3]), "images[0]: is ragged"),
    "a fraction": (lambda: asked([[1, 2], [3, 0.7319]]), "images[0]: holds what is no whole number"),
    "true": (lambda: asked([[1, True], [3, 4]]), "images[0]: holds what is no whole number"),
    "text among numbers": (lambda: asked([[1, MARK], [3, 4]]), "images[0]: holds what is no whole number"),
    "null among numbers": (lambda: asked([[1, None], [3, 4]]), "images[0]: holds what is no whole number"),
    "below zero": (lambda: asked([[1, -1], [3, 4]]), "images[0]: holds values outside 0 to 255"),
    "above a byte": (lambda: asked([[1, 256], [3, NUMBER]]), "images[0]: holds values outside 0 to 255"),
    "a number without end": (lambda: asked([[1, 10**400]]), "images[0]: holds values outside 0 to 255"),
    "two sizes": (lambda: asked([[1]], [[1, 2], [3, 4]]), "images[1]: has 2 a side, images[0] 1"),
    "fit": (lambda: asked(picture(GREY), fit=MARK), "fit: must be pad, stretch or crop"),
    "a window that is none": (lambda: asked(picture(GREY), window=MARK), "window: must be [low, high]"),
    "a window upside down": (lambda: asked(picture(GREY), window=[5, 5]), "window: must be [low, high]"),
    "a window of one": (lambda: asked(picture(GREY), window=[5]), "window: must be [low, high]"),
    "text": (lambda: asked(f"{MARK}!"), "images[0]: is text, but no base64"),
    "letters that are not ASCII": (lambda: asked("\u00e4" * 8), "images[0]: is text, but no base64"),
    "no file": (lambda: asked(""), "images[0]: is no PNG, JPEG, npy or NIfTI"),
    "another file": (lambda: asked(in_base64(MARK.encode() * 200)), "images[0]: is no PNG, JPEG, npy or NIfTI"),
    "a GIF": (lambda: asked(picture(GREY, "GIF")), "images[0]: is no PNG, JPEG, npy or NIfTI"),
    "a TIFF": (lambda: asked(picture(GREY, "TIFF")), "images[0]: is no PNG, JPEG, npy or NIfTI"),
    "a path": (lambda: asked(in_base64(b"/etc/passwd")), "images[0]: is no PNG, JPEG, npy or NIfTI"),
    "half a PNG": (lambda: asked(picture(COLOUR, pnginfo=None)[:200]), "images[0]: cannot be read, or is damaged"),
    "half a JPEG": (lambda: asked(picture(GREY, "JPEG")[:200]), "images[0]: cannot be read, or is damaged"),
    "several frames": (lambda: asked(frames()), "images[0]: holds 2 images, where one is meant"),
    "colours for grey": (lambda: asked(picture(COLOUR)), "images[0]: has colours"),
    "transparent": (lambda: asked(picture(np.zeros((28, 28, 4), np.uint8))), "images[0]: is transparent"),
    "a bomb": (lambda: asked(png_of(60_000, 60_000)), "images[0]: the files of a request have more than 134,217,728"),
    "a smaller bomb": (lambda: asked(png_of(12_000, 12_000)), "images[0]: the files of a request have more than"),
    "many that are large": (
        lambda: asked(*[npy(np.zeros((1 << 10, 1 << 10), np.uint8))] * 3, png_of(11_500, 11_500)),
        "images[3]: the",
    ),
    "pickled objects": (lambda: asked(npy(np.array([{MARK: 1}]), allow_pickle=True)), "images[0]: holds object"),
    "an npy of text": (lambda: asked(npy(np.array([["a", "b"]]))), "images[0]: holds <U1, not numbers"),
    "an npy that says more": (lambda: asked(npy_that_says((1 << 40, 1 << 20))), "images[0]: holds 8 bytes where"),
    "an npy with no pixel": (lambda: asked(npy(np.zeros((0, 8), np.uint8))), "images[0]: 0 x 8, without a pixel"),
    "an npy of NaN": (lambda: asked(npy(np.full((8, 8), np.nan))), "images[0]: holds NaN or infinite values"),
    "an npy of numbers without black": (lambda: asked(npy(np.full((8, 8), NUMBER))), "say `window: [low, high]`"),
    "half an npy": (lambda: asked(in_base64(base64.b64decode(npy(GREY))[:200])), "images[0]: holds 72 bytes where"),
    "an npy of another header": (
        lambda: asked(in_base64(b"\x93NUMPY" + MARK.encode() * 9)),
        "images[0]: not an intact",
    ),
    "a gzip file": (lambda: asked(in_base64(gzip.compress(MARK.encode() * 99))), "images[0]: holds no NIfTI"),
    "a scan for an image": (lambda: asked(nifti(np.zeros((4, 4, 4), np.uint8))), "images[0]: a volume, but"),
    "a scan that says more": (
        lambda: asked(nifti_that_says(3000, 3000, 3000), dataset="nodulemnist3d"),
        "images[0]: the files of a request have more than",
    ),
    **{
        f"{what}, {kind.__name__}": (
            lambda kind=kind, sizes=sizes: asked(nifti_before(kind, *sizes), dataset="nodulemnist3d"),
            f"images[0]: {says}",
        )
        for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image)
        for what, sizes, says in (
            ("voxels far behind the header", (20_000_000 + 1024, 20_000_000), "its voxels begin beyond 1 MB"),
            ("extensions without end", (0, 20_000_000), "its extensions go beyond where its voxels begin"),
            ("an extension beyond the voxels", (1024, 20_000_000), "its extensions go beyond where its voxels"),
            ("an extension of less than nothing", (1024, 20_000_000, -8), "its extensions go beyond where"),
        )
    },
    "half a scan": (
        lambda: asked(in_base64(base64.b64decode(nifti(COLOUR))[:300]), dataset="nodulemnist3d"),
        "images[0]: cannot be read, or is damaged (nii.gz)",
    ),
    "a picture for a volume": (lambda: asked(picture(GREY), dataset="nodulemnist3d"), "images[0]: is 1 x 28 x 28"),
}


def sentence_of(answered: Any, status: int, caplog: pytest.LogCaptureFixture) -> str:
    """Return the sentence of an answer, once it is held to be one that repeats nothing."""
    assert answered.status_code == status, answered.text
    assert list(answered.json()) == ["error"]
    sentence = answered.json()["error"]
    assert 15 < len(sentence) < 300
    assert "\n" not in sentence
    for said in (sentence, *caplog.messages):
        for part in (MARK, str(NUMBER), "Traceback", ".py", tempfile.gettempdir(), "73, 73"):
            assert part not in said
    return sentence


@pytest.mark.parametrize("case", BODIES)
def test_a_body_that_cannot_be_answered_is_told_by_what_is_wrong(client, caplog, case):
    caplog.set_level("INFO", "mosaic.serve")
    body, says = BODIES[case]
    answered = client.post("/predict", content=body(), headers={"content-type": "application/json"})
    assert says in sentence_of(answered, 400, caplog)
    assert "POST /predict 400" in caplog.text


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({}, "the content type must be application/json"),
        ({"content-type": f"text/{MARK}"}, "the content type must be application/json"),
        ({"content-type": "multipart/form-data; boundary=x"}, "the content type must be application/json"),
        ({"content-type": f"application/json; charset={MARK}"}, "in UTF-8"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "must not be compressed"),
        ({"content-type": "application/json", "host": f"{MARK}.example"}, "--allow-host"),
        ({"content-type": "application/json", "host": f"127.0.0.1.{MARK}.example:8000"}, "--allow-host"),
    ],
)
def test_headers_that_are_not_taken(client, caplog, headers, says):
    caplog.set_level("INFO", "mosaic.serve")
    assert says in sentence_of(client.post("/predict", content=asked(GREY.tolist()), headers=headers), 400, caplog)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "10.1.2.3", "Images.example:80"])
def test_numbers_and_names_that_are_allowed_are_hosts(bundle, host):
    client = TestClient(build_app(bundle, 1000, (*serving.LOCAL, "images.example")), base_url="http://127.0.0.1")
    assert client.get("/health", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(("said", "most_taken"), [(True, 0), (False, 11)])
def test_a_body_over_the_limit_is_not_read(bundle, caplog, said, most_taken):
    """Of one that says its size nothing is taken, of one in chunks no more than goes beyond the limit."""
    taken = []

    async def chunks():
        for _ in range(100):
            taken.append(1)
            yield b" " * 1000

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(build_app(bundle, 10_000))
        headers = {"content-type": "application/json"} | ({"content-length": "100000"} if said else {})
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.post("/predict", content=chunks(), headers=headers)

    assert "larger than 0.01 MB" in sentence_of(asyncio.run(ask()), 413, caplog)
    assert len(taken) <= most_taken


def test_bodies_that_do_not_end_hold_up_nobody_and_are_answered_after_a_while(bundle, caplog, monkeypatch):
    """More of them than requests may wait send a byte now and then; meanwhile others are answered."""
    ended = asyncio.Event()

    async def drops():
        while not ended.is_set():
            yield b" "
            await asyncio.sleep(0.001)

    async def ask() -> tuple[httpx.Response, list[httpx.Response]]:
        transport = httpx.ASGITransport(build_app(bundle, 1_000_000))
        headers = {"content-type": "application/json"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            slow = [
                asyncio.create_task(client.post("/predict", content=drops(), headers=headers))
                for _ in range(serving.MOST_WAITING + 1)
            ]
            await asyncio.sleep(0.05)
            between = await client.post("/predict", content=asked(GREY.tolist()), headers=headers)
            try:
                return between, await asyncio.wait_for(asyncio.gather(*slow), 30)
            finally:
                ended.set()

    monkeypatch.setattr(serving, "BODY_SECONDS", 1)
    between, slow = asyncio.run(ask())
    assert between.status_code == 200, between.text
    for answered in slow:
        assert "the body did not end within 1 s" in sentence_of(answered, 408, caplog)
        assert answered.headers["connection"] == "close"


def test_bodies_together_take_no_more_memory_than_those_that_may_wait(bundle, caplog, monkeypatch):
    """Ten bodies are held but for their last byte where there is room for two; what they held is free afterwards."""
    may_end = asyncio.Event()
    body = asked(GREY.tolist())

    async def all_but_the_last():
        yield body[:-1]
        await may_end.wait()
        yield body[-1:]

    async def ask() -> tuple[list[httpx.Response], list[httpx.Response]]:
        transport = httpx.ASGITransport(build_app(bundle, len(body)))
        headers = {"content-type": "application/json"}
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            held = [
                asyncio.create_task(client.post("/predict", content=all_but_the_last(), headers=headers))
                for _ in range(10)
            ]
            turned_away, held = await asyncio.wait(held, timeout=30, return_when=asyncio.FIRST_COMPLETED)
            while len(turned_away) < 8:
                more, held = await asyncio.wait(held, timeout=30, return_when=asyncio.FIRST_COMPLETED)
                turned_away |= more
            may_end.set()
            answered = await asyncio.gather(*held)
            again = [await client.post("/predict", content=body, headers=headers) for _ in range(3)]
            return [task.result() for task in turned_away], answered + again

    monkeypatch.setattr(serving, "MOST_WAITING", 2)
    turned_away, answered = asyncio.run(asyncio.wait_for(ask(), 60))
    assert [each.status_code for each in answered] == [200] * 5
    for each in turned_away:
        assert "take up all memory for bodies" in sentence_of(each, 503, caplog)


def test_a_path_or_method_that_is_none(client, caplog):
    caplog.set_level("INFO", "mosaic.serve")
    for answered, status in (
        (client.get(f"/{MARK}?{MARK}"), 404),
        (client.get("/predict"), 405),
        (client.post("/health", content=MARK), 405),
    ):
        assert "there are GET /health, GET /model, POST /predict" in sentence_of(answered, status, caplog)


def test_a_defect_is_a_500_without_what_it_says_and_its_place_is_logged(bundle, client, caplog, monkeypatch):
    def broken(self, images, dataset, batch_size):
        raise ValueError(f"{MARK} {images}")

    monkeypatch.setattr(type(bundle), "predict", broken)
    answered = client.post("/predict", json=json.loads(asked(GREY.tolist())))
    assert answered.status_code == 500
    assert answered.json() == {"error": serving.DEFECT}
    assert "defect: ValueError" in caplog.text
    assert MARK not in caplog.text
    assert client.get("/health").status_code == 200


def test_nothing_of_a_file_stays_behind(client, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for body in (asked(picture(GREY)), asked(picture(GREY)[:200])):
        client.post("/predict", content=body, headers={"content-type": "application/json"})
    assert list(Path(tmp_path).iterdir()) == []
