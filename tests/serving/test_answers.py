"""What is answered: the tests' probabilities, for lists and for files, a batch as one pass, and health meanwhile."""

import asyncio
import threading
from types import SimpleNamespace

import httpx
import nibabel
import numpy as np
import pytest
from sent import in_base64, nifti, npy, picture
from sent import test_images as images_of

from mosaic_pipeline.datasets import MEDMNIST
from mosaic_pipeline.prediction.run import said
from mosaic_pipeline.serving.answer import predicted_of
from mosaic_pipeline.serving.app import MOST_WAITING, build_app

EACH = (("A", "retinamnist"), ("B", "breastmnist"), ("C", "nodulemnist3d"))


def ask(client, dataset: str, images: list, **more) -> dict:
    answered = client.post("/predict", json={"dataset": dataset, "images": images, **more})
    assert answered.status_code == 200, answered.text
    return answered.json()


@pytest.mark.parametrize(("specialist", "dataset"), EACH)
def test_served_probabilities_are_those_of_the_test(client, finished, bundle, specialist, dataset):
    images = images_of(finished, dataset)
    tested = np.load(finished / f"evaluation/mosaic/42/{specialist}.npz")[f"{dataset}/scores"]
    ten = [*range(len(images)), 0, 1, 2]
    answer = ask(client, dataset, images[ten].tolist())
    np.testing.assert_allclose(answer["probabilities"], tested[ten], rtol=0, atol=1e-6)
    assert answer["dataset"] == dataset
    assert answer["classes"] == bundle.known(dataset).class_names
    assert answer["predicted"] == [answer["classes"][best] for best in tested[ten].argmax(axis=1)]
    assert answer["model"] == bundle.manifest.provenance.md5["model"]
    single = ask(client, dataset, images[:1].tolist())
    np.testing.assert_allclose(single["probabilities"], tested[:1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("dataset", "written"),
    [
        ("retinamnist", picture),
        ("retinamnist", npy),
        ("breastmnist", picture),
        ("breastmnist", npy),
        ("nodulemnist3d", npy),
        ("nodulemnist3d", nifti),
        ("nodulemnist3d", lambda volume: nifti(volume, compressed=False)),
    ],
)
def test_a_file_of_the_same_values_has_the_same_answer(client, finished, dataset, written):
    images = images_of(finished, dataset)[:2]
    as_files = ask(client, dataset, [written(image) for image in images])
    assert as_files == ask(client, dataset, images.tolist())
    mixed = ask(client, dataset, [written(images[0]), images[1].tolist()])
    assert mixed == as_files


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_scan_may_have_extensions_in_either_form_and_order_of_bytes(client, finished, kind, order):
    volume = images_of(finished, "nodulemnist3d")[0]
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.uint8)
    header.extensions += [nibabel.nifti1.Nifti1Extension("comment", b"word" * size) for size in (3, 30)]
    content = kind(volume.transpose(2, 1, 0), np.eye(4), header).to_bytes()
    assert ask(client, "nodulemnist3d", [in_base64(content)]) == ask(client, "nodulemnist3d", [nifti(volume)])


def test_files_are_fitted_and_windowed_as_is_asked(client):
    wide = np.random.default_rng(0).integers(0, 256, (20, 40), np.uint8)
    asked = [ask(client, "breastmnist", [picture(wide)], fit=fit)["probabilities"] for fit in ("pad", "stretch")]
    assert asked[0] != asked[1]
    scan = np.random.default_rng(0).integers(-1000, 1000, (20, 20, 20), np.int16)
    windows = [ask(client, "nodulemnist3d", [nifti(scan)], window=w)["probabilities"] for w in ([-500, 500], "each")]
    assert windows[0] != windows[1]


@pytest.mark.parametrize("dataset", [dataset for _, dataset in EACH])
def test_a_batch_is_one_forward_pass(client, finished, bundle, dataset):
    passes = []
    hook = bundle.model.register_forward_hook(lambda *call: passes.append(len(call[1][0])))
    try:
        ask(client, dataset, np.concatenate([images_of(finished, dataset)] * 10)[:65].tolist())
    finally:
        hook.remove()
    assert passes == [65]


def test_of_several_labels_those_of_one_half_or_more_are_predicted_here_and_in_files():
    known = SimpleNamespace(class_names=["mass", "nodule", "oedema"])
    bundle = SimpleNamespace(known=lambda name: known, datasets={"chestmnist": MEDMNIST["chestmnist"]})
    for probabilities, predicted in (([0.9, 0.2, 0.5], ["mass", "oedema"]), ([0.1, 0.49, 0.3], [])):
        given = np.array(probabilities, np.float32)
        assert predicted_of(bundle, "chestmnist", given) == predicted
        assert said(bundle, "chestmnist", given)["predicted"] == "; ".join(predicted)


def test_health_and_model_say_what_is_served(client, bundle):
    md5 = bundle.manifest.provenance.md5["model"]
    assert client.get("/health").json() == {"status": "ok", "model": md5}
    model = client.get("/model").json()
    assert (model["variant"], model["seed"], model["md5"]) == ("mosaic", 42, md5)
    assert list(model["datasets"]) == [dataset for _, dataset in EACH]
    known = model["datasets"]["nodulemnist3d"]
    assert (known["classes"], known["form"], known["size"]) == (["benign", "malignant"], "cubes [N, S, S, S]", 28)
    assert str(bundle.folder) not in str(model)


def test_nothing_is_loaded_from_elsewhere(client):
    assert client.get("/docs").status_code == client.get("/redoc").status_code == 404
    schema = client.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert list(schema["application/json"]["schema"]["properties"]) == ["dataset", "images", "fit", "window"]


def test_health_is_answered_while_a_prediction_runs_and_too_many_are_turned_away(bundle, finished, monkeypatch):
    running, may_end, at_once = threading.Event(), threading.Event(), []
    predict = type(bundle).predict

    def slow(self, *arguments, **more):
        at_once.append(1)
        running.set()
        assert may_end.wait(60)
        assert sum(at_once) == 1, "two at a time"
        at_once.pop()
        return predict(self, *arguments, **more)

    monkeypatch.setattr(type(bundle), "predict", slow)
    question = {"dataset": "breastmnist", "images": images_of(finished, "breastmnist")[:1].tolist()}

    async def ask_all() -> None:
        transport = httpx.ASGITransport(build_app(bundle, 1_000_000))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60) as client:
            waiting = [asyncio.create_task(client.post("/predict", json=question)) for _ in range(MOST_WAITING)]
            try:
                while not running.is_set():
                    await asyncio.sleep(0.01)
                assert (await asyncio.wait_for(client.get("/health"), 30)).status_code == 200
                turned_away = await asyncio.wait_for(client.post("/predict", json=question), 30)
                assert (turned_away.status_code, not any(task.done() for task in waiting)) == (503, True)
            finally:
                may_end.set()
            assert {answered.status_code for answered in await asyncio.gather(*waiting)} == {200}
            assert (await client.post("/predict", json=question)).status_code == 200

    asyncio.run(ask_all())
