import pytest

from mosaic_pipeline.config import resolve
from mosaic_pipeline.reporting.results import load_results
from mosaic_pipeline.reporting.sections.parameters import components


@pytest.mark.parametrize("variant", ["mosaic", "gated", "released", "slices", "full_finetune", "prompt_per_dataset"])
def test_the_components_are_what_the_variant_trains(inputs, params, make_model, variant):
    """Taken from a model of each kind: frozen parts are no component, and a trained ViT is one."""
    inputs.variants = ("mosaic",)
    results = load_results(("mosaic",), (42,), inputs.specialists, root=inputs.write())
    counts = make_model(variant=variant).parameter_counts()
    run = results.main_run
    parameters = type(run.training.parameters).model_validate(counts)
    training = run.training.model_copy(update={"parameters": parameters})
    results.runs["mosaic", 42] = type(run)(**{**vars(run), "training": training})
    results.configs["mosaic"] = resolve(params, variant)
    assert sum(components(results, "mosaic").values()) == counts["trainable"]
