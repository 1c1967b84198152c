import subprocess
import sys

SCRIPT = """
import sys
import mosaic_pipeline.model.vit
import mosaic_pipeline.weights.source
from mosaic_pipeline.model.backbone import build_backbone
build_backbone("vit_tiny_patch16_224", 16, 32, device="meta")
parts = ("torch._dynamo", "sympy", "torchvision", "torchvision.ops", "torchvision.models", "huggingface_hub")
heavy = [name for name in parts if name in sys.modules]
print(heavy)
import huggingface_hub
import torchvision
print(torchvision.models.resnet18.__name__, torchvision.ops.misc.FrozenBatchNorm2d.__name__)
"""


def test_a_backbone_brings_neither_torchvision_nor_the_compiler_nor_a_hubs_client_which_can_be_imported_after_it():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "resnet18 FrozenBatchNorm2d"]
