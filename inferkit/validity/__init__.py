"""Whether a figure is true: content, outputs, origin of the bytes, and the verdict."""
