"""What every HTML page is made of: frame, style, tables, charts and pictures. A page is one file without script."""
