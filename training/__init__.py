"""How the demo checkpoint was made: pictures of coloured shapes, questions, training, proof."""
