"""Networks by what they give: heads of several kinds, auxiliary outputs, dictionaries, tuples."""

from __future__ import annotations

import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch import Tensor


class Trunk(nn.Module):
    """Two convolutions and a norm for the heads below: [B, 32]."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 24, 3, 2, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.conv2 = nn.Conv2d(24, 32, 3, 2, 1)

    def forward(self, x):
        return F.relu(self.conv2(F.relu(self.bn1(self.conv1(x))))).mean((2, 3))


class FairFaceLike(nn.Module):
    """One linear layer of 18 outputs: seven, two and nine classes side by side."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.fc = nn.Linear(32, 18)

    def forward(self, x):
        return self.fc(self.trunk(x))


class FortyScores(nn.Module):
    """CelebA's forty attributes, a score each."""

    def __init__(self, num_attributes=40):
        super().__init__()
        self.trunk = Trunk()
        self.attributes = nn.Linear(32, num_attributes)

    def forward(self, x):
        return self.attributes(self.trunk(x))


class FortyHeads(nn.Module):
    """The same as forty small heads, concatenated."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        for i in range(40):
            setattr(self, f"head_{i:02d}", nn.Sequential(nn.Linear(32, 4), nn.ReLU(), nn.Linear(4, 1)))

    def forward(self, x):
        h = self.trunk(x)
        return torch.cat([getattr(self, f"head_{i:02d}")(h) for i in range(40)], dim=1)


class OneScore(nn.Module):
    """One score, squeezed to [B]."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.fc = nn.Linear(32, 1)

    def forward(self, x):
        return self.fc(self.trunk(x)).squeeze(1)


class OneSigmoid(OneScore):
    """One probability, [B, 1], the sigmoid inside."""

    def forward(self, x):
        return torch.sigmoid(self.fc(self.trunk(x)))


class LogSoftmaxInside(nn.Module):
    """F.log_softmax at the end, as MNIST's example has it."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = Trunk()
        self.fc1, self.fc2 = nn.Linear(32, 32), nn.Linear(32, num_classes)

    def forward(self, x):
        x = F.dropout(F.relu(self.fc1(self.trunk(x))), training=self.training)
        return F.log_softmax(self.fc2(x), dim=1)


class SoftmaxModule(nn.Module):
    """nn.Softmax as the last module."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.net = nn.Sequential(OrderedDict(trunk=Trunk(), fc=nn.Linear(32, num_classes), softmax=nn.Softmax(dim=1)))

    def forward(self, x):
        return self.net(x)


class DictOutput(nn.Module):
    """{"logits", "features"}."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = Trunk()
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        h = self.trunk(x)
        return {"features": h, "logits": self.fc(h)}


class TupleOutput(DictOutput):
    """(logits, features)."""

    def forward(self, x):
        h = self.trunk(x)
        return self.fc(h), h


class ListOfTasks(nn.Module):
    """A list of three heads of 7, 2 and 9."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.heads = nn.ModuleList([nn.Linear(32, n) for n in (7, 2, 9)])

    def forward(self, x):
        h = self.trunk(x)
        return [head(h) for head in self.heads]


class NamedHeads(nn.Module):
    """A dictionary of tasks from a ModuleDict."""

    def __init__(self):
        super().__init__()
        self.trunk = Trunk()
        self.heads = nn.ModuleDict({"gender": nn.Linear(32, 2), "age": nn.Linear(32, 9)})

    def forward(self, x):
        h = self.trunk(x)
        return {task: head(h) for task, head in self.heads.items()}


Output = namedtuple("Output", ["logits", "embedding"])


class NamedTupleOutput(DictOutput):
    """A namedtuple."""

    def forward(self, x):
        h = self.trunk(x)
        return Output(self.fc(h), h)


@dataclass
class ModelOutput:
    logits: Tensor
    hidden: Tensor | None = None


class DataclassOutput(DictOutput):
    """A dataclass, as transformers' models give."""

    def forward(self, x):
        h = self.trunk(x)
        return ModelOutput(self.fc(h), h)


class AuxiliaryInTraining(nn.Module):
    """A second classifier that only training runs; then two outputs."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.a = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), nn.BatchNorm2d(24), nn.ReLU())
        self.aux = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, num_classes))
        self.b = nn.Sequential(nn.Conv2d(24, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU())
        self.fc = nn.Linear(32, num_classes)

    def forward(self, x):
        x = self.a(x)
        aux = self.aux(x) if self.training else None
        x = self.fc(self.b(x).mean((2, 3)))
        if self.training:
            return x, aux
        return x


class DistilledHeads(nn.Module):
    """DeiT's: two heads, both in training, their mean otherwise."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = Trunk()
        self.head, self.head_dist = nn.Linear(32, num_classes), nn.Linear(32, num_classes)

    def forward(self, x):
        h = self.trunk(x)
        x, y = self.head(h), self.head_dist(h)
        if self.training:
            return x, y
        return (x + y) / 2


class SpatialOutput(nn.Module):
    """Fully convolutional: logits [B, K, 1, 1]."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(3, 24, 3, 2, 1), nn.ReLU(), nn.Conv2d(24, 32, 3, 2, 1), nn.ReLU())
        self.score, self.pool = nn.Conv2d(32, num_classes, 1), nn.AdaptiveAvgPool2d(1)

    def forward(self, x):
        return self.pool(self.score(self.net(x)))


class CosineHead(nn.Module):
    """Cosine similarities to class centres, times a scale: both sides normalised."""

    def __init__(self, num_classes=2, s=16.0):
        super().__init__()
        self.trunk = Trunk()
        self.weight = nn.Parameter(torch.empty(num_classes, 32))
        nn.init.xavier_uniform_(self.weight)
        self.s = s

    def forward(self, x):
        return self.s * F.linear(F.normalize(self.trunk(x)), F.normalize(self.weight))


class ArcMargin(CosineHead):
    """ArcFace: a margin where a label is given; without one, the scaled cosines."""

    def forward(self, x, label=None, m=0.5):
        cosine = F.linear(F.normalize(self.trunk(x)), F.normalize(self.weight))
        if label is None:
            return cosine * self.s
        sine = torch.sqrt((1.0 - torch.pow(cosine, 2)).clamp(0, 1))
        phi = cosine * math.cos(m) - sine * math.sin(m)
        one_hot = torch.zeros_like(cosine).scatter_(1, label.view(-1, 1).long(), 1)
        return (one_hot * phi + (1.0 - one_hot) * cosine) * self.s


class Prototypes(nn.Module):
    """Negative squared distances to prototypes, by broadcasting."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = Trunk()
        self.embed = nn.Linear(32, 16)
        self.prototypes = nn.Parameter(torch.randn(num_classes, 16))

    def forward(self, x):
        z = self.embed(self.trunk(x))
        return -((z.unsqueeze(1) - self.prototypes.unsqueeze(0)) ** 2).sum(-1)


class TransposedHead(nn.Module):
    """A head of one's own with the weight [features, classes]."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = Trunk()
        self.W = nn.Parameter(torch.randn(32, num_classes) * 0.1)
        self.b = nn.Parameter(torch.zeros(num_classes))

    def forward(self, x):
        return self.trunk(x) @ self.W + self.b


class HeadFirst(nn.Module):
    """The classifier is registered before all else, and nothing tells the number of classes."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(32, 2)
        self.hidden = nn.Linear(32, 32)
        self.trunk = Trunk()

    def forward(self, x):
        return self.fc(F.relu(self.hidden(self.trunk(x))))


class OrdinalHead(nn.Module):
    """CORAL: one shared score and a bias per threshold."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = Trunk()
        self.fc = nn.Linear(32, 1, bias=False)
        self.linear_1_bias = nn.Parameter(torch.zeros(num_classes).float())

    def forward(self, x):
        return self.fc(self.trunk(x)) + self.linear_1_bias


class SlicedHead(nn.Module):
    """A head of ten, of which the first two are given."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.num_classes = num_classes
        self.trunk = Trunk()
        self.fc = nn.Linear(32, 10)

    def forward(self, x):
        return self.fc(self.trunk(x))[:, : self.num_classes]


class Ensemble(nn.Module):
    """The mean of three networks' probabilities, as a log."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.members = nn.ModuleList([nn.Sequential(Trunk(), nn.Linear(32, num_classes)) for _ in range(3)])

    def forward(self, x):
        return torch.stack([m(x).softmax(-1) for m in self.members]).mean(0).clamp_min(1e-8).log()


class MixtureOfExperts(nn.Module):
    """A gate weighs two experts' features per image, by einsum."""

    def __init__(self, num_classes=2):
        super().__init__()
        self.trunk = Trunk()
        self.gate = nn.Linear(32, 2)
        self.experts = nn.ModuleList([nn.Sequential(nn.Linear(32, 48), nn.ReLU(), nn.Linear(48, 24)) for _ in range(2)])
        self.fc = nn.Linear(24, num_classes)

    def forward(self, x):
        h = self.trunk(x)
        outs = torch.stack([e(h) for e in self.experts], 1)
        return self.fc(torch.einsum("be,bed->bd", self.gate(h).softmax(-1), outs))
