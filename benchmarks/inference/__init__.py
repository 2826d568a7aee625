"""From the file to the label: the runtime against MONAI's sliding window, each side in a process of its own."""
