"""Counterfactual routing: what each dataset would score with the specialist of others."""

import copy
from typing import Any

from mosaic_pipeline.analysis.subject import Subject
from mosaic_pipeline.evaluation import metrics
from mosaic_pipeline.evaluation.predict import predict
from mosaic_pipeline.model.mosaic import Mosaic


def counterfactual(subject: Subject) -> dict[str, Any] | None:
    """Send every dataset through every specialist, with its own head and its own 3D tokenizer.

    Returns the specialists, each dataset's own one, and by dataset ACC and AUC [S], AUC nan where undefined, and how
    many labels of each case are right, [S, N]. None with fewer than two specialists, or when a gate mixes them.
    """
    model = subject.model
    specialists = list(model.specialists)
    if len(specialists) < 2 or model.gated:
        return None
    acc: dict[str, list[float]] = {}
    auc: dict[str, list[float]] = {}
    right: dict[str, list[list[int]]] = {}
    for name, cases in subject.cases.items():
        dataset, labels = subject.config.datasets[name], cases.labels.cpu().numpy()
        scores = [
            predict(
                rerouted(model, name, specialist),
                cases,
                dataset,
                config=subject.config,
                batch_size=subject.batch_size,
            )
            for specialist in specialists
        ]
        acc[name] = [metrics.accuracy(dataset, labels, by_one) for by_one in scores]
        auc[name] = [metrics.auc(dataset, labels, by_one) for by_one in scores]
        right[name] = [(metrics.predictions(dataset, by_one) == labels).sum(axis=1).tolist() for by_one in scores]
    own = {name: model.routing.datasets[name] for name in subject.cases}
    return {"specialists": specialists, "own": own, "acc": acc, "auc": auc, "right": right}


def rerouted(model: Mosaic, name: str, specialist: str) -> Mosaic:
    """Return `model` with another specialist for one dataset: its very tensors under a table of its own."""
    view = copy.copy(model)
    view.routing = model.routing.model_copy(update={"datasets": model.routing.datasets | {name: specialist}})
    return view
