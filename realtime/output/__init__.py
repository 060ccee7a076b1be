"""Where pictures go: virtual camera, window, video files, contact sheet."""
