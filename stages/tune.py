"""Stage `tune`: candidates/<variant>.yaml -> configs/<variant>.yaml, the best one, and tuning/<variant>.json."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mosaic_pipeline.arguments import VARIANT, read_arguments
from mosaic_pipeline.atomic import try_places, write_text
from mosaic_pipeline.candidates import Candidates, load_candidates
from mosaic_pipeline.command import GracefulStop, run_command
from mosaic_pipeline.config import dump_config
from mosaic_pipeline.errors import Diverged
from mosaic_pipeline.launch import launch, launched, reporting
from mosaic_pipeline.layout import candidates_file, config_file, tuning_file
from mosaic_pipeline.params import Params, load_params
from mosaic_pipeline.training.tuning import DIVERGED, Trial, choose, trial_of, write_tuning

if TYPE_CHECKING:
    from mosaic_pipeline.lineage import Lineage
    from mosaic_pipeline.tracking.subject import Subject
    from mosaic_pipeline.training.checkpoint import Checkpoints
    from mosaic_pipeline.training.trainer import CyclicTrainer


def main() -> None:
    """Train what is to be tried for a variant, if anything, and write the configuration that validates best."""
    (variant,) = read_arguments("tune", __doc__, VARIANT)
    params = load_params()
    params.check_known(variant)
    candidates = load_candidates(candidates_file(variant))
    seed, compute = candidates.seed, params.compute
    if seed is None:
        write_choice(variant, candidates, [])
        return
    try_places(tuning_file(variant), config_file(variant))
    if compute.processes > 1 and not launched():
        launch("stages.tune", [variant], processes=compute.processes, restarts=compute.max_restarts)
        return

    # Heavy imports wait until it is known that there is something to do.
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.data.batches import open_splits
    from mosaic_pipeline.digest import md5_text
    from mosaic_pipeline.layout import TRAINING_DATA
    from mosaic_pipeline.lineage import check_splits, read_lineage
    from mosaic_pipeline.processes import joined
    from mosaic_pipeline.tracking.parameters import subject
    from mosaic_pipeline.training.build import build_trainer
    from mosaic_pipeline.training.checkpoint import Checkpoints, checkpoint_folder

    datasets, device = candidates.tried[0].config.datasets, pick_device(compute)
    train, val = open_splits(
        TRAINING_DATA, datasets, ("train", "val"), device, compute.device_cache_gb, workers=compute.workers
    )
    check_splits(TRAINING_DATA, "train", train, datasets)
    check_splits(TRAINING_DATA, "val", val, datasets)
    lineages = [
        read_lineage(md5_text(dump_config(each.config)), datasets, each.config.model.pretrained)
        for each in candidates.tried
    ]
    places = [
        Checkpoints(checkpoint_folder(lineage.determinants | {"seed": seed, "stage": "tune"})) for lineage in lineages
    ]
    with joined(device) as processes, GracefulStop() as stop:
        trials = []
        for index, (candidate, lineage, checkpoints) in enumerate(zip(candidates.tried, lineages, places, strict=True)):
            trial = processes.agree(checkpoints.result)
            if trial is None:
                if processes.leads:
                    print(f"candidate {index + 1} of {len(places)}: {described(candidate.values)}", flush=True)
                # Held by no name here, so that the next one does not share the device with it.
                trial = tried(
                    build_trainer(
                        candidate.config,
                        train=train,
                        val=val,
                        seed=seed,
                        device=device,
                        compute=compute,
                        processes=processes,
                    ),
                    f"{variant}-tune-{index}",
                    checkpoints,
                    stop,
                    params,
                    subject(params, variant, candidate.config, seed),
                    lineage,
                )
            trials.append(trial)
        if processes.leads:
            write_choice(variant, candidates, trials)
            for checkpoints in places:
                checkpoints.forget_result()


def tried(
    trainer: "CyclicTrainer",
    name: str,
    checkpoints: "Checkpoints",
    stop: GracefulStop,
    params: Params,
    about: "Subject",
    lineage: "Lineage",
) -> Trial:
    """Train a candidate, as the MLflow run `name`, and return what it came to, which the checkpoints' place keeps."""
    from mosaic_pipeline.tracking.training import tracked_training
    from mosaic_pipeline.training.resume import follow

    try:
        if not trainer.processes.leads:
            follow(trainer, stop)
            return trial_of(trainer)
        with tracked_training(
            "tune", name, trainer, checkpoints, stop, params.tracking, subject=about, lineage=lineage
        ):
            trial = trial_of(trainer)
            checkpoints.keep_result(trial)
    except Diverged as error:
        trial = DIVERGED
        if trainer.processes.leads:
            print(f"{name} diverged: {error}", file=sys.stderr, flush=True)
            checkpoints.keep_result(trial)
            checkpoints.clear()
    return trial


def write_choice(variant: str, candidates: Candidates, trials: Sequence[Trial]) -> None:
    """Write the configuration with the best trial, the only one if there are none, and the trials."""
    chosen = choose(variant, trials) if trials else 0
    candidate = candidates.tried[chosen]
    write_tuning(tuning_file(variant), variant, candidates, trials, chosen)
    write_text(config_file(variant), dump_config(candidate.config))
    print(f"{config_file(variant)}: {f'chosen {described(candidate.values)}' if trials else 'not tuned'}")


def described(values: dict) -> str:
    """Values by key, for a line of output."""
    return ", ".join(f"{key} = {value}" for key, value in values.items()) or "as it is"


if __name__ == "__main__":
    run_command(reporting(main))
