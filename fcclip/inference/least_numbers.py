"""The least mask logit whose sigmoid is computed, and where a smaller one could matter."""

# Below 1e-38 numbers are subnormal, and processors take many times as long for them. The sigmoid of this logit, 9e-27,
# is still normal when it is multiplied by the score of a class.
LEAST_LOGIT = -60.0
# Where a mask has this logit, or a query this score, nothing depends on what is smaller than that sigmoid.
CERTAIN_LOGIT, CERTAIN_SCORE = -35.0, 1e-17
