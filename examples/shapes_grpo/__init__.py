"""An RL run that learns: a tiny policy answers questions about shapes, and a reward server is its only teacher."""
