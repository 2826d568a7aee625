"""From scans and a plan to labels: windows, through the network, blended and labelled."""
