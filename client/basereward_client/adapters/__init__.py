"""One module for each trainer; a trainer is imported only where its own adapter is."""
