"""Following objects through a video: what `Segmenter.track` and `Segmenter.track_whole` return."""
