"""All that is neither network nor file: the native core against the usual ways, each in a process of its own."""
