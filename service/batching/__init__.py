"""What runs when: pure policy, the line, and the thread that runs the model."""
