"""Does a backend label as the trained network does? The same question at export and on the machine where it runs."""
