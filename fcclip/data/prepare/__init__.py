"""From a dataset as its makers distribute it to the layout that `fcclip.data.datasets` registers.

The scripts `datasets/prepare_*.py` are thin shells over these modules.
"""
