"""The machine under this process: processor, memory, and how they are described."""
