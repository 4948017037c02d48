"""Small data sets as their authors lay them out."""

from __future__ import annotations

from tests.contract.shapes import DataSet
from tests.support import datasets as made

DATA_SETS = {
    "celeba": DataSet(made.celeba, "Blond_Hair", "Male", 48),
    "fairface": DataSet(made.fairface, "gender", "race", 84),
    "lfw": DataSet(made.lfw, "Smiling", "Male", 48),
    "utkface": DataSet(made.utkface, "gender", "race", 60),
}
