"""Where the driver's frames come from: cameras, clips, pictures."""
