"""From scans to labels: which windows, through the network, blended and labelled."""
