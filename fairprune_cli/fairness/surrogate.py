"""Rates of groups relaxed from logits: delta(margin of p), which has a gradient, in place of "p is predicted"."""

from __future__ import annotations

import torch
from torch import Tensor

from fairprune_cli.fairness.notions.base import Notion
from fairprune_cli.fairness.relaxations import class_margins


def soft_events(notion: Notion, logits: Tensor, labels: Tensor, indicator: object) -> tuple[Tensor, Tensor]:
    """Relaxed events and population membership of each image.

    Args:
        notion: what is counted, for K classes.
        logits: [B, K].
        labels: [B].
        indicator: a surrogate of 1[a > 0], applied to the margin of each predicted class.

    Returns:
        (soft, member), both [B, M]: the relaxed indicator of event m (differentiable) and 1.0 where the image's
        label belongs to population m.
    """
    assert callable(indicator)
    event = torch.as_tensor(notion.event, device=logits.device)  # [M, K, K]
    member = torch.as_tensor(notion.population, device=logits.device)[:, labels].T.to(logits.dtype)  # [B, M]
    soft = indicator(class_margins(logits))  # [B, K]
    chosen = event[:, labels].permute(1, 0, 2).to(logits.dtype)  # [B, M, K]
    return torch.einsum("bmk,bk->bm", chosen, soft), member


def group_rates(soft: Tensor, member: Tensor, groups: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Relaxed rates per group and over all grouped images.

    Args:
        soft, member: [B, M] from `soft_events`; member times the images' weights where these differ.
        groups: [B] in 0..count-1, -1 for images in no group.
        count: G.

    Returns:
        (rate [M, G], present bool [M, G], whole [M]); absent rates are 0 and carry no gradient.
    """
    grouped = groups >= 0
    one_hot = torch.zeros(len(groups), count, dtype=soft.dtype, device=soft.device)
    one_hot[grouped] = torch.nn.functional.one_hot(groups[grouped], count).to(soft.dtype)
    weight = member.T @ one_hot  # [M, G]
    total = (soft * member).T @ one_hot
    present = weight > 0
    least = torch.finfo(soft.dtype).tiny
    rate = total / weight.clamp_min(least)
    inside = member * grouped[:, None].to(member.dtype)
    whole = (soft * inside).sum(0) / inside.sum(0).clamp_min(least)
    return rate, present, whole
