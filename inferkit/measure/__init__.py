"""From points to records: run ranks, peers and progress, and sum up what they found."""
