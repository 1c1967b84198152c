"""Segment a scan: `mosaic segment MODEL IMAGE.nii.gz --dataset NAME`."""

from pathlib import Path

from mosaic_pipeline.arguments import CommandParser
from mosaic_pipeline.command import run_command
from mosaic_pipeline.errors import PipelineError, few
from mosaic_pipeline.params import load_params


def main() -> None:
    """Write a label map that lies on the scan voxel by voxel, and print the volume of each organ."""
    parser = CommandParser("segment", __doc__)
    parser.add_argument("model", type=Path, help="model.safetensors of a training")
    parser.add_argument("image", type=Path, help="a scan, .nii.gz or .nii, in any orientation")
    parser.add_argument("--dataset", required=True, help="the dataset of the training that the scan is like")
    parser.add_argument("--out", type=Path, help="default: <image>_predicted.nii.gz, beside the image")
    parser.add_argument("--largest-component", action="store_true", help="keep only the largest piece of each organ")
    arguments = parser.parse_args()
    params = load_params()

    # Heavy imports wait until the arguments are known to be good.
    from mosaic_pipeline.atomic import try_places
    from mosaic_pipeline.compute import pick_device
    from mosaic_pipeline.segmentation import deployed
    from mosaic_pipeline.segmentation.data.nifti import SUFFIXES, read_image
    from mosaic_pipeline.segmentation.evaluation.inference import segment
    from mosaic_pipeline.segmentation.evaluation.predictions import volumes_ml, write_prediction

    image, out = arguments.image, arguments.out or _beside(arguments.image, SUFFIXES)
    if not out.name.endswith(SUFFIXES):
        raise PipelineError(f"{out}: a label map is NIfTI; call it {out.name}.nii.gz")
    if out.resolve() == image.resolve():
        raise PipelineError(f"{out}: is the scan itself; say another file with --out")
    scan = read_image(image)
    try_places(out)
    device = pick_device(params.compute)
    trained = deployed.load_model(arguments.model, device)
    if arguments.dataset not in trained.datasets:
        raise PipelineError(
            f"{arguments.model}: knows no dataset {arguments.dataset}; --dataset is one of {few(trained.datasets, 10)}"
        )
    dataset = trained.datasets[arguments.dataset]
    classes = segment(
        trained.model,
        scan,
        dataset,
        size=trained.size,
        intensity=trained.intensities[dataset.name],
        device=device,
        precision=trained.precision,
        batch_size=params.segmentation.evaluate.slice_batch,
        largest_component=arguments.largest_component,
    )
    write_prediction(out, classes, scan, dataset)
    for warning in scan.warnings:
        print(f"warning: {image}: {warning}")
    for organ, volume in volumes_ml(classes, scan, dataset).items():
        print(f"{organ}: {volume:,.1f} ml")
    print(f"{out}: label ids of {dataset.name}")


def _beside(image: Path, suffixes: tuple[str, ...]) -> Path:
    """Return where the prediction of a scan goes unless somebody says so."""
    name = next((image.name.removesuffix(suffix) for suffix in suffixes if image.name.endswith(suffix)), image.name)
    return image.with_name(f"{name}_predicted.nii.gz")


if __name__ == "__main__":
    run_command(main)
