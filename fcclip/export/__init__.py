"""ONNX files of a model whose vocabulary stays free, and a runtime for them that needs no PyTorch.

`fcclip.export.write` makes the files, with PyTorch; `Runtime` runs them, with NumPy, OpenCV and an engine.
"""

from fcclip.export.runtime import Runtime

__all__ = ["Runtime"]
