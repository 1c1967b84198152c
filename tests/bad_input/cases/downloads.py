"""Weights and datasets that are fetched: files that are none, addresses that are none, servers that have none."""

import zipfile

import numpy as np
from case import Case
from damage import both, empty, file, flipped, folder, missing, truncated, written
from spoil import answering, encrypted, made_of, npy, with_array, wrong_sums, zipped

# --- weights: made of the random ones that the stage has written

VIT = "vit.npz"
RANDOM = ".cache/weights/random_*.npz"
CLS = np.zeros((1, 1, 64), np.float32)
MUST = "model.weights must name an intact npz"


def vit(make):
    return made_of(RANDOM, VIT, make)


def weights(name: str, damage, *says: str) -> Case:
    return Case(f"weights: {name}", "weights", damage, (VIT, *says), params={"model.weights": VIT})


def weights_at(name: str, value: str, *says: str) -> Case:
    return Case(f"weights: {name}", "weights", says=("model.weights", *says), params={"model.weights": value})


WEIGHTS = [
    Case("weights: none there", "weights", says=("no such file", "give a path"), params={"model.weights": VIT}),
    weights("a folder", both(written(VIT, b""), folder(VIT)), "a folder, not a file", "give a path"),
    weights("empty", written(VIT, b""), "the file is empty", MUST),
    weights("a page", written(VIT, b"<html>503</html>"), "a page", MUST),
    weights("a single array", written(VIT, npy(CLS)), "a single array", MUST),
    weights("half of it", both(vit(zipped), truncated(VIT)), "not an intact npz", MUST),
    weights("a flipped bit", vit(wrong_sums), "Bad CRC-32", MUST),
    weights("bzip2", vit(lambda arrays: zipped(arrays, zipfile.ZIP_BZIP2)), "compressed with bzip2", MUST),
    weights("lzma", vit(lambda arrays: zipped(arrays, zipfile.ZIP_LZMA)), "compressed with lzma", MUST),
    weights("encrypted", vit(encrypted), "is encrypted", MUST),
    weights("Python objects", vit(with_array(cls=np.array([{}], dtype=object))), "never loaded", MUST),
    weights("a pickle", vit(lambda arrays: zipped(arrays, **{"cls.npy": b"\x80\x04N."})), "cls does not begin", MUST),
    weights("an array missing", vit(with_array(cls=None)), "no array cls", "must agree"),
    weights("an array too many", vit(with_array(extra=CLS)), "unknown array extra", "must agree"),
    weights("no ViT", vit(lambda arrays: zipped({"images": CLS})), "no array embedding/kernel", MUST),
    weights("another shape", vit(with_array(cls=CLS[0])), "cls is [1, 64], expected [1, 1, 64]", MUST),
    weights("another width", vit(with_array(embedding__kernel=np.zeros((16, 16, 3, 8)))), "width 8", "must agree"),
    weights("beyond float32", vit(with_array(cls=CLS.astype(float) + 1e300)), "cls holds values beyond float32", MUST),
    weights("not a number", vit(with_array(cls=CLS + np.nan)), "cls holds values that are not finite", MUST),
    weights("infinite halves", vit(with_array(cls=CLS.astype("f2") + np.inf)), "not finite", MUST),
    weights("whole numbers", vit(with_array(cls=CLS.astype(int))), "cls holds int64, expected floats", MUST),
    weights("another byte order", vit(with_array(cls=CLS.astype(">f4"))), "cls holds >f4, expected floats", MUST),
    weights(
        "zeros far beyond the layout",
        vit(lambda arrays: zipped(arrays | {"cls": np.zeros((1, 1, 10_000_000), "f4")}, zipfile.ZIP_DEFLATED)),
        "cls is [1, 1, 10000000]",
        MUST,
    ),
    Case(
        "weights: another sha256",
        "weights",
        vit(zipped),
        (VIT, "sha256 is", "model.weights_sha256", "or null"),
        params={"model.weights": VIT, "model.weights_sha256": "0" * 64},
    ),
    weights_at("in nobody's home", "~nosuchuser/vit.npz", "~nosuchuser", "give a path"),
    weights_at("no host", "http://", "http://", "check model.weights"),
    weights_at("half an address", "http://[::1", "http://[::1", "check model.weights"),
    weights_at("a port that is none", "http://127.0.0.1:port/vit.npz", "port", "check model.weights"),
    weights_at("a port too high", "http://127.0.0.1:99999/vit.npz", "99999", "check model.weights"),
    Case(
        "weights: not on the server",
        "weights",
        answering("model.weights", 404, b"none"),
        ("model.weights: http://127.0.0.1:", "answered 404", "check model.weights"),
        environment={"NO_PROXY": "127.0.0.1"},
    ),
]

# --- datasets: from a mirror, made of what the stage has generated, and what the cache stage finds

RAW, MIRRORED = "data/raw/retinamnist.npz", "mirror/retinamnist.npz"
MIRROR = {"data.source": "mirror", "data.mirror": "mirror", "data.verify": False}
AGAIN = "it must be fetched again"


def mirrored(make):
    return made_of(RAW, MIRRORED, make)


def dataset(name: str, damage, *says: str, command: str = "download retinamnist") -> Case:
    from_mirror = command.startswith("download")
    where = MIRRORED if from_mirror else RAW
    return Case(f"{command}: {name}", command, damage, (where, *says), params=MIRROR if from_mirror else {})


def mirror_at(name: str, value: str, *says: str) -> Case:
    return Case(f"mirror: {name}", "download retinamnist", says=says, params=MIRROR | {"data.mirror": value})


DATASETS = [
    dataset("no file", both(mirrored(zipped), missing(MIRRORED)), "No such file", "data.mirror must be a folder"),
    dataset("a folder", both(mirrored(zipped), folder(MIRRORED)), "Is a directory", "data.mirror must be a folder"),
    dataset("a file for a folder", both(mirrored(zipped), file("mirror")), "Not a directory", "data.mirror must be"),
    dataset("empty", both(mirrored(zipped), empty(MIRRORED)), "the file is empty", AGAIN),
    dataset("a page", written(MIRRORED, b"<html>"), "not a zip file", AGAIN),
    dataset("half of it", both(mirrored(zipped), truncated(MIRRORED)), "not an intact npz", AGAIN),
    dataset("a flipped bit", mirrored(wrong_sums), "Bad CRC-32", AGAIN),
    dataset("bzip2", mirrored(lambda arrays: zipped(arrays, zipfile.ZIP_BZIP2)), "with bzip2", AGAIN),
    dataset("lzma", mirrored(lambda arrays: zipped(arrays, zipfile.ZIP_LZMA)), "with lzma", AGAIN),
    dataset("encrypted", mirrored(encrypted), "is encrypted", AGAIN),
    dataset("Python objects", mirrored(with_array(val_labels=np.array([[{}]] * 6))), "never loaded", AGAIN),
    dataset("labels of one dimension", mirrored(with_array(val_labels=np.zeros(6, int))), "val_labels is int64 [6]"),
    dataset("a class too many", mirrored(with_array(val_labels=np.full((6, 1), 5))), "values from 5 to 5"),
    dataset("floats", mirrored(with_array(val_images=np.zeros((6, 28, 28, 3)))), "val_images is float64"),
    dataset(
        "one channel", mirrored(with_array(val_images=np.zeros((6, 28, 28), "u1"))), "val_images is uint8 [6,28,28]"
    ),
    *(
        dataset(name, damage, says, "fetched again", command="cache retinamnist")
        for name, damage, says in (
            ("empty", empty(RAW), "the file is empty"),
            ("half of it", truncated(RAW), "not an intact npz"),
            ("a hundred flipped bits", flipped(RAW), "not an intact npz"),
            ("a folder", folder(RAW), "Is a directory"),
            ("a flipped bit in every array", made_of(RAW, RAW, wrong_sums), "Bad CRC-32"),
        )
    ),
    mirror_at("in nobody's home", "~nosuchuser/mirror", "~nosuchuser/mirror", "data.mirror must be"),
    mirror_at("half an address", "http://[::1", "http://[::1/retinamnist.npz", "check data.source and data.mirror"),
    mirror_at("a port that is none", "http://127.0.0.1:port", "retinamnist.npz", "check data.source and data.mirror"),
    Case(
        "mirror: not on the server",
        "download retinamnist",
        answering("data.mirror", 404, b"none", path=""),
        ("http://127.0.0.1:", "/retinamnist.npz: the server answered 404", "data.mirror"),
        params=MIRROR,
        environment={"NO_PROXY": "127.0.0.1"},
    ),
]

CASES = [*WEIGHTS, *DATASETS]
