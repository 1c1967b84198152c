"""What a step minimises (paper, section 2): (1 - w) L_cls + w MSE(student CLS feature, teacher CLS feature)."""

from torch import Tensor
from torch.nn import functional as F


def classification_loss(logits: Tensor, labels: Tensor, *, multi_label: bool, weights: Tensor | None = None) -> Tensor:
    """Mean cross-entropy of logits [N, C] and classes [N, 1], or BCE-with-logits against yes/no labels [N, C].

    `weights` [C] say what a case of each class counts, or each label's yes. The mean is over cases and not over their
    weights, so that the parts of a batch that several processes have add up to the loss of the whole.
    """
    if multi_label:
        return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), pos_weight=weights)
    if weights is None:
        return F.cross_entropy(logits, labels[:, 0])
    return (weights[labels[:, 0]] * F.cross_entropy(logits, labels[:, 0], reduction="none")).mean()


def mosaic_loss(
    classification: Tensor, student: Tensor, teacher: Tensor, consist_weight: float, consist_form: str = "mix"
) -> Tensor:
    """Combine the classification loss with the consistency of the CLS features [N, D], w = `consist_weight`.

    `consist_form` is `mix`, the paper's, or `add`, L_cls + w MSE, that of its public code.
    """
    kept = 1 - consist_weight if consist_form == "mix" else 1.0
    return kept * classification + consist_weight * F.mse_loss(student, teacher)
