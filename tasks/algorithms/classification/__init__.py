"""What a text classifier is split, compared, calibrated and judged by; pure, without torch."""
