"""What is promised of a collection's verdicts: near pairs, a review queue, evidence, and thresholds from labels."""
