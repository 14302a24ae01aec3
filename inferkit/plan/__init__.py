"""From parameters to points: what will be measured, checked before anything runs."""
