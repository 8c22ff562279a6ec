"""Cards of images with captions."""
