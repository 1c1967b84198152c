"""What a step minimises (paper, section 2): (1 - w) L_cls + w MSE(student CLS feature, teacher CLS feature)."""

from torch import Tensor
from torch.nn import functional as F


def classification_loss(logits: Tensor, labels: Tensor, *, multi_label: bool) -> Tensor:
    """Mean cross-entropy of logits [N, C] and classes [N, 1], or BCE-with-logits against yes/no labels [N, C]."""
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return F.cross_entropy(logits, labels[:, 0])


def mosaic_loss(
    classification: Tensor, student: Tensor, teacher: Tensor, consist_weight: float, consist_form: str = "mix"
) -> Tensor:
    """Combine the classification loss with the consistency of the CLS features [N, D], w = `consist_weight`.

    `consist_form` is `mix`, the paper's, or `add`, L_cls + w MSE, that of its public code.
    """
    kept = 1 - consist_weight if consist_form == "mix" else 1.0
    return kept * classification + consist_weight * F.mse_loss(student, teacher)
