"""From pixels to landmarks, crops and action units: what training and the live program must agree on."""
