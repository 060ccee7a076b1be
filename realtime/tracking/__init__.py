"""One face through time: found, validated, estimated, freed from its neutral, smoothed."""
