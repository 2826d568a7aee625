"""Does a run keep what its plan says: bytes beside measured peaks, and limits that are refused or kept."""
