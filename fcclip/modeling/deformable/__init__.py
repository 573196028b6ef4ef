"""Multi-scale deformable attention: every query samples a few points of every level of a feature pyramid.

`layer` holds the projections, `backends` chooses who samples: plain PyTorch, the compiled operator of a
package, or Triton kernels on a GPU.
"""

from fcclip.modeling.deformable.backends import BACKENDS, Shapes
from fcclip.modeling.deformable.layer import MSDeformAttn

__all__ = ["BACKENDS", "MSDeformAttn", "Shapes"]
