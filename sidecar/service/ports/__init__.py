"""What services ask of the outside, and what they are asked."""
