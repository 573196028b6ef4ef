"""From the results of frames to those of a video: which query is the same object, and what it is called.

matching   the same query in the next frame          votes      the class of a query over time
tubes      results of a whole video (MinVIS_OV)      tracks     ids of objects
tracker    the results of a stream, bounded memory      saved      its state on disk

Pure tensors: nothing here knows a network.
"""
