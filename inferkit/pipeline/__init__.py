"""What a rank does: reader threads, ring, copy and infer, and the times of every batch."""
