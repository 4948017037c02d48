"""placeholder"""

import torch


def difference_of(one, other, images):
    with torch.no_grad():
        return "" if torch.equal(one(images), other(images)) else "differs"
