"""What the use-cases share: to look at a promotion, follow it, restore Git, and what Git remembers of it."""
