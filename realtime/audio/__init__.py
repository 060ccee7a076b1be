"""The microphone, and sound in step with pictures."""
