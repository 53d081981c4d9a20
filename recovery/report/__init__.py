"""What a run came to, for people: one self-contained HTML file, Markdown, and tables for a terminal."""
