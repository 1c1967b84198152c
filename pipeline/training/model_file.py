"""The trained model on disk: the trainable tensors of student and teacher, or of one composed of both; none frozen."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pipeline.atomic import atomic
from pipeline.errors import PipelineError
from pipeline.model.mosaic import Mosaic


def save_model(path: Path, **models: dict[str, Tensor]) -> None:
    """Write the states of models as safetensors, names prefixed by the model's: `student.`, `teacher.`."""
    tensors = {
        f"{which}.{name}": tensor.contiguous() for which, state in models.items() for name, tensor in state.items()
    }
    with atomic(path) as temporary:
        # Not `save_file`: it would replace the temporary file by one that nobody else may read.
        temporary.write_bytes(save(tensors))


def load_model(path: Path, model: Mosaic, which: str) -> None:
    """Copy one of the file's models, such as the `student`, into `model`.

    Raises PipelineError if the file is missing, damaged or of another configuration.
    """
    try:
        with safe_open(path, framework="pt") as file:
            prefix = f"{which}."
            names = [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - not a mapping
            model.load_trainable_state({name.removeprefix(prefix): file.get_tensor(name) for name in names})
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise PipelineError(
            f"{path}: not a model of this configuration ({reason}); `dvc repro train` makes it"
        ) from None
