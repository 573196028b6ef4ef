"""Parts of ZegCLIP and Cascade-CLIP: from class names and patch features to masks, and their losses."""
