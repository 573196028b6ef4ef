"""What differs between the versions of the libraries underneath, handled in one place and before they are imported."""

import warnings

# fvcore, which Detectron2 imports, scripts two functions at import; nobody who uses this package can change that.
warnings.filterwarnings("ignore", message=r"`torch\.jit\.script` is deprecated", category=FutureWarning)
