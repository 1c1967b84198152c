from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from mosaic_pipeline.processes import Processes
from mosaic_pipeline.segmentation.training.losses import EPSILON, class_weights, segmentation_loss

CE = partial(segmentation_loss, ce=1.0, dice=0.0)
DICE = partial(segmentation_loss, ce=0.0, dice=1.0)


def batch(count: int = 3, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and classes of slices of 5 x 5 pixels, of which the last class is nowhere."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, classes, 5, 5, generator=generator)
    return logits.requires_grad_(), torch.randint(classes - 1, (count, 5, 5), generator=generator, dtype=torch.uint8)


def certain(rows: list[list[list[float]]]) -> torch.Tensor:
    """Logits of one slice whose probabilities [C][H][W] these are."""
    return torch.tensor(rows).clamp(min=1e-30).log()[None]


def test_cross_entropy_is_torchs_mean_over_pixels():
    logits, labels = batch()
    torch.testing.assert_close(CE(logits, labels), F.cross_entropy(logits, labels.long()))


def test_a_weighted_cross_entropy_is_a_mean_over_pixels_and_not_over_weights():
    logits, labels = batch()
    weights = torch.tensor([0.5, 2.0, 3.0, 7.0])
    each = F.cross_entropy(logits, labels.long(), reduction="none")
    torch.testing.assert_close(CE(logits, labels, weights=weights), (each * weights[labels.long()]).mean())


def test_class_weights_are_frequency_to_the_power_of_minus_one_half_and_one_on_average_over_pixels():
    pixels = [900, 100, 0, 25]
    weights = class_weights(pixels, 0.5)
    assert weights[1] / weights[0] == pytest.approx(3)
    assert weights[3] / weights[0] == pytest.approx(6)
    assert weights[2] == 0
    assert weights.dtype == torch.float32
    assert (weights * torch.tensor(pixels)).sum() == pytest.approx(sum(pixels))
    assert class_weights(pixels, 1.0)[1] / class_weights(pixels, 1.0)[0] == pytest.approx(9)
    assert class_weights(pixels, 0) is None


def test_dice_by_hand_over_the_organs_that_are_there():
    # Two by two pixels. Organ 1 is in two of them and gets .5 and 1; organ 2 is nowhere and gets .25 of one.
    logits = certain([[[0.5, 0.0], [0.75, 1.0]], [[0.5, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.25, 0.0]]])
    labels = torch.tensor([[[1, 1], [0, 0]]], dtype=torch.uint8)
    assert DICE(logits, labels).item() == pytest.approx(1 - 2 * 1.5 / (1.5 + 2), abs=1e-5)


def test_dice_is_of_the_batch_and_not_of_its_slices():
    right, wrong = certain([[[0.0]], [[1.0]]]), certain([[[1.0]], [[0.0]]])
    labels = torch.tensor([[[1]], [[1]]], dtype=torch.uint8)
    assert DICE(torch.cat([right, wrong]), labels).item() == pytest.approx(1 - 2 / 3, abs=1e-5)


def test_dice_of_a_batch_without_organs_is_zero_and_so_is_its_gradient():
    logits, _ = batch()
    loss = DICE(logits, torch.zeros(3, 5, 5, dtype=torch.uint8))
    loss.backward()
    assert loss == 0
    assert logits.grad.abs().max() == 0


def test_the_released_dice_by_hand_is_of_squares_over_all_classes_there_or_not():
    logits = certain([[[0.5, 0.0], [0.75, 1.0]], [[0.5, 1.0], [0.0, 0.0]], [[0.0, 0.0], [0.25, 0.0]]])
    labels = torch.tensor([[[1, 1], [0, 0]]], dtype=torch.uint8)
    by_class = (
        1 - (2 * 1.75 + EPSILON) / (0.25 + 0.5625 + 1 + 2 + EPSILON),
        1 - (2 * 1.5 + EPSILON) / (0.25 + 1 + 2 + EPSILON),
        1 - EPSILON / (0.0625 + EPSILON),
    )
    loss = segmentation_loss(logits, labels, ce=0.4, dice=0.7, dice_form="released")
    cross_entropy = -(np.log(0.5) + np.log(0.75)) / 4
    assert loss.item() == pytest.approx(0.4 * cross_entropy + 0.7 * sum(by_class) / 3, abs=1e-6)


@pytest.mark.parametrize("form", ["foreground", "released"])
def test_the_loss_has_the_gradient_that_numbers_give(form):
    logits, labels = batch(1, 3)
    logits = logits.detach()[:, :, :2, :2].double().requires_grad_()
    loss = partial(segmentation_loss, ce=0.4, dice=0.6, dice_form=form, weights=torch.tensor([0.5, 1, 2]).double())
    assert torch.autograd.gradcheck(lambda x: loss(x, labels[:, :2, :2]), logits)


@pytest.mark.parametrize("form", ["foreground", "released"])
@pytest.mark.parametrize("parts", [(2, 1), (3, 0)])
def test_parts_of_a_batch_on_two_processes_have_the_loss_and_the_gradient_of_the_whole(form, parts):
    weights = torch.tensor([0.5, 1.0, 2.0, 3.0])
    loss = partial(segmentation_loss, ce=0.4, dice=0.6, dice_form=form, weights=weights)
    logits, labels = batch()
    whole = loss(logits, labels)
    whole.backward()

    # A process without images runs along on the first one.
    rows = [slice(0, parts[0]), slice(parts[0], 3) if parts[1] else slice(0, 1)]
    shares = [count * 2 / 3 for count in parts]
    sent: list[torch.Tensor] = []

    def values(summed: torch.Tensor | None) -> list[torch.Tensor]:
        """What each process makes of its part; `summed` is what they come to together."""
        made = []
        for of_process, share in zip(rows, shares, strict=True):
            part = logits.detach()[of_process].requires_grad_()
            with patch.object(
                Processes, "sum", lambda self, own: (sent.append(own), own if summed is None else summed)[1]
            ):
                value = loss(part, labels[of_process], share=share, processes=Processes(0, 2))
            value.backward()
            made.append((value.detach(), part.grad))
        return made

    values(None)
    made = values(sent[0] + sent[1])
    torch.testing.assert_close(sum(value for value, _ in made) / 2, whole.detach())
    gradient = torch.zeros_like(logits)
    for of_process, (_, of_part) in zip(rows, made, strict=True):
        gradient[of_process] += of_part / 2
    torch.testing.assert_close(gradient, logits.grad)
