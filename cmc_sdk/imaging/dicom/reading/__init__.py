"""From files to a volume: headers, grouping, stacks, pixels."""
