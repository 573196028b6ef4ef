"""What differs between the versions of the libraries underneath, handled in one place and before they are imported."""

import warnings

import cv2

# OpenCV's threads do not survive a fork, and a data worker that then calls OpenCV waits for them forever.
cv2.setNumThreads(0)

# fvcore, which Detectron2 imports, scripts two functions at import; nobody who uses this package can change that.
warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=FutureWarning)
