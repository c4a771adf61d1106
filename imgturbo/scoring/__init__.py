"""What the commands evaluate and calibrate compute, above the pure functions of metrics."""
