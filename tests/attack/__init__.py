"""Attacks on everything that reads what people and strangers give: right, or one clear sentence, and never a hang."""
