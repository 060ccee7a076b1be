"""A photo that is animated: settings, retargeting, drawing, and what it does when the driver is away."""
