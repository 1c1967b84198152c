"""Stage `seg_weights`: a Swin's weights, from a file or a URL -> segmentation/weights/swin.safetensors; or none."""

import json

from mosaic_pipeline.arguments import read_arguments
from mosaic_pipeline.atomic import atomic
from mosaic_pipeline.command import run_command
from mosaic_pipeline.layout import SWIN
from mosaic_pipeline.params import load_params

PROVENANCE = "provenance"


def main() -> None:
    """Find the weights, map them to the trunk, and say what became of them."""
    read_arguments("segmentation.weights", __doc__)
    model = load_params().segmentation.model

    if model.weights is None:
        # Without torch, whose import takes longer than all of this.
        from safetensors.numpy import save

        with atomic(SWIN) as temporary:
            temporary.write_bytes(save({}, {PROVENANCE: json.dumps({"source": "random"})}))
        print(f"{SWIN}: none, each training starts from random ones")
        return

    # Heavy imports wait until the parameters are known to be good, and that there is something to do.
    from mosaic_pipeline.segmentation.config import Architecture
    from mosaic_pipeline.segmentation.model.weights import account_of, read_swin, save_swin
    from mosaic_pipeline.weights.source import locate_file

    source = locate_file(model.weights, model.weights_sha256, setting="segmentation.model.weights")
    shape = Architecture(**model.model_dump(exclude={"weights", "weights_sha256"}), weights=True)
    state, contents = read_swin(source.path, shape)
    save_swin(state, SWIN, {"source": source.name, "sha256": source.sha256})
    print(f"{SWIN}: {account_of(source.name, source.sha256, state, contents)}")


if __name__ == "__main__":
    run_command(main)
