"""All that is numeric and not the network, behind one narrow interface."""
