"""The one room that judges ground truth, before any work starts.

`python -m fcclip.data.check`, `--dry-run`, training and evaluation see the same findings: a problem is refused with a
sentence that names the file; what can be mended is mended and told.
"""
