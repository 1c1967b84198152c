"""Which dataset an image is of, by what the frozen backbone alone makes of it; nothing routes by it unless asked."""
