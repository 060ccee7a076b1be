"""One run: live in threads, or a file frame by frame."""
