"""The guided lesson that measures how a driver rests and how far each action unit goes."""
