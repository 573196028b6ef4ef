"""Checkpoints of ZegCLIP and Cascade-CLIP in the published (mmsegmentation's) layout."""
