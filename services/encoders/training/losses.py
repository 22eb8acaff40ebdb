"""Losses on unit vectors."""

import torch
from torch import Tensor


def ranking_loss(vectors: Tensor, same: Tensor, different: Tensor, temperature: float) -> Tensor:
    """Multiple negatives ranking with in-batch negatives: each pair of the same meaning against all that differ.

    Matthew Henderson et al. 2017. Efficient Natural Language Response Suggestion for Smart Reply. arXiv:1705.00652.
    Other texts of the same meaning are no negatives; nor is what `different` leaves out, as not known.

    Args:
        vectors: float32 [texts, hidden], of length 1.
        same: bool [texts, texts]; the diagonal is not read.
        different: bool [texts, texts].
        temperature: what cosines are divided by.

    """
    scores = vectors @ vectors.T / temperature
    negatives = scores.masked_fill(~different, -torch.inf).logsumexp(dim=1, keepdim=True)
    positives = same & ~torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    losses = torch.nn.functional.softplus(negatives - scores)  # -log(e^s / (e^s + sum of e^negatives))
    return losses[positives].mean()


def cosent_loss(cosines: Tensor, same: Tensor, temperature: float) -> Tensor:
    """CoSENT: every pair that means the same should have a higher cosine than every pair that does not.

    Jianlin Su. 2022. CoSENT (kexue.fm/archives/8847): log(1 + sum of e^((cos(different) - cos(same)) / temperature)).

    Args:
        cosines: float32 [pairs].
        same: bool [pairs].
        temperature: what cosines are divided by.

    """
    scores = cosines / temperature
    excess = scores[~same][:, None] - scores[same][None, :]
    return torch.cat([excess.flatten(), excess.new_zeros(1)]).logsumexp(dim=0)
