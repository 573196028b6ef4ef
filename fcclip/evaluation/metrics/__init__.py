"""Pure counting: arrays in, numbers out."""
